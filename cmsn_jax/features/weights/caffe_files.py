"""Caffe models (.caffemodel) → layers with their arrays, without Caffe.

A model is a protobuf message: layers, each with its blobs. The messages are
described here, the few fields that matter, and parsed by the protobuf library;
numbers are cut out before that and stay where they are in the file (mapped,
not read), so that memory holds what is converted and no more.

Three forms are read: `layer` (since 2015), `layers` (2014), and that of C3D
v1.0, whose blobs have a length and number their fields otherwise.

References:
  `caffe.proto` of BVLC/caffe, facebookarchive/C3D, yjxiong/caffe (`BN`), and of
  OpenCV (16-bit numbers).
"""

import dataclasses
import functools
import mmap
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf import (
  descriptor_pb2,
  descriptor_pool,
  message,
  message_factory,
)
from jaxtyping import Float

# Field number, name, type; `+` for repeated.
_MESSAGES = {
  'Shape': ((1, 'dim', 'int64+'),),
  'Blob': (
    (1, 'num', 'int32'),
    (2, 'channels', 'int32'),
    (3, 'height', 'int32'),
    (4, 'width', 'int32'),
    (7, 'shape', 'Shape'),
    (10, 'raw_data_type', 'int32'),
  ),
  'VolumeBlob': (
    (1, 'num', 'int32'),
    (2, 'channels', 'int32'),
    (3, 'length', 'int32'),
    (4, 'height', 'int32'),
    (5, 'width', 'int32'),
  ),
  'Convolution': (
    (3, 'pad', 'uint32+'),
    (5, 'group', 'uint32'),
    (6, 'stride', 'uint32+'),
    (9, 'pad_h', 'uint32'),
    (10, 'pad_w', 'uint32'),
    (13, 'stride_h', 'uint32'),
    (14, 'stride_w', 'uint32'),
    (18, 'dilation', 'uint32+'),
  ),
  'Pooling': (
    (1, 'pool', 'int32'),
    (2, 'kernel_size', 'uint32'),
    (3, 'stride', 'uint32'),
    (4, 'pad', 'uint32'),
    (5, 'kernel_h', 'uint32'),
    (7, 'stride_h', 'uint32'),
    (9, 'pad_h', 'uint32'),
    (12, 'global_pooling', 'bool'),
    (13, 'round_mode', 'int32'),
  ),
  'Eltwise': ((1, 'operation', 'int32'), (2, 'coeff', 'float+')),
  'BatchNorm': ((3, 'eps', 'float'),),
  # yjxiong/caffe's layer, which scales too.
  'BN': ((4, 'eps', 'float'),),
  'Layer': (
    (1, 'name', 'string'),
    (2, 'type', 'string'),
    (3, 'bottom', 'string+'),
    (4, 'top', 'string+'),
    (106, 'convolution_param', 'Convolution'),
    (110, 'eltwise_param', 'Eltwise'),
    (121, 'pooling_param', 'Pooling'),
    (137, 'bn_param', 'BN'),
    (139, 'batch_norm_param', 'BatchNorm'),
  ),
  'V1Layer': (
    (2, 'bottom', 'string+'),
    (3, 'top', 'string+'),
    (4, 'name', 'string'),
    (5, 'type', 'int32'),
  ),
}
# Types of `layers` that have blobs here; 30 is C3D's.
_V1_TYPES = {4: 'Convolution', 14: 'InnerProduct', 30: 'Convolution3D'}
# Of the message that holds layers: field number → (message, field of blobs).
_FORMS = {100: ('Layer', 7), 2: ('V1Layer', 6)}
_RAW_TYPES = {0: '<f8', 1: '<f4', 2: '<f2'}
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class CaffeError(ValueError):
  """A file is no Caffe model that can be read; says why and what helps."""


@dataclasses.dataclass(frozen=True)
class Layer:
  """One layer of a model.

  Attributes:
    name: as the model has it.
    type: Caffe's name of it, 'Convolution', 'BN', …; of `layers` a number for
      types that have no arrays.
    bottoms: names of its inputs.
    tops: names of its outputs.
    blobs: its arrays, in Caffe's order and axes; read-only views of the file.
    settings: the parsed message, whose fields say the rest.
  """

  name: str
  type: str
  bottoms: tuple[str, ...]
  tops: tuple[str, ...]
  blobs: tuple[Float[np.ndarray, '...'], ...]
  settings: Any


def is_caffe(path: str | os.PathLike) -> bool:
  """Whether a file looks like a Caffe model (C3D's have no suffix)."""
  path = pathlib.Path(path)
  if not path.is_file():
    return False
  if '.caffemodel' in path.name:
    return True
  with path.open('rb') as file:
    start = file.read(2)
  # A name, or the first of `layers`; a checkpoint starts with PK or \x80.
  return start[:1] in (b'\n', b'\x12') and b'\n' not in start[1:]


def read(path: str | os.PathLike) -> tuple[Layer, ...]:
  """Returns a model's layers, in their order.

  Args:
    path: a .caffemodel, or C3D's file without suffix.
  Raises:
    FileNotFoundError: there is no such file.
    CaffeError: it is damaged, empty, or of a form that is not read.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'there is no weight file {path}')
  if not path.stat().st_size:
    raise CaffeError(f'{path} is empty; download it again')
  with path.open('rb') as file:
    # The arrays keep the map open for as long as they live.
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
  view = memoryview(mapped)
  _refuse_others(path, bytes(view[:16]))
  layers, forms = [], set()
  for number, wire, body in _fields(view, f'{path}'):
    if wire == _LENGTH and number in _FORMS:
      forms.add(number)
      name = f'{path}, layer {len(layers) + 1}'
      layers.append(_layer(body, *_FORMS[number], name))
  if len(forms) > 1:
    raise CaffeError(
      f'{path} holds layers of two forms (`layer` and `layers`), of which Caffe '
      'reads neither; download it again'
    )
  if not any(layer.blobs for layer in layers):
    raise CaffeError(
      f'{path} is no Caffe model: {len(layers)} layers and no array in it; '
      'give the .caffemodel, not its .prototxt'
    )
  return tuple(layers)


def _refuse_others(path, start):
  if start.startswith(b'\x89HDF'):
    raise CaffeError(
      f'{path} is HDF5, not protobuf; save it with snapshot_format: '
      'BINARYPROTO, or give the .caffemodel without .h5'
    )
  if start.lstrip()[:1] in (b'<', b'{') or start.startswith(
    (b'name:', b'input', b'layer', b'version https')
  ):
    raise CaffeError(
      f'{path} is text ({start[:12].decode(errors="replace")!r}…), not a Caffe '
      'model: a web page, a .prototxt or a pointer; download the .caffemodel'
    )


def _layer(body, form, blobs_field, where) -> Layer:
  rest, blobs = _cut(body, (blobs_field,), where)
  found = _parsed(form, rest, where)
  if not found.name and form == 'V1Layer':
    raise CaffeError(
      f'{where} has the form of 2013 (V0); pass the file once through '
      "Caffe's upgrade_net_proto_binary"
    )
  if not all(isinstance(text, str) for text in (
    found.name, *found.bottom, *found.top
  )):  # fmt: skip
    raise CaffeError(
      f'{where} has a name that is no text, {found.name!r}; the file is damaged, '
      'download it again'
    )
  kind = found.type
  if form == 'V1Layer':
    kind = _V1_TYPES.get(kind, f'type {kind}')
  where = f'{where} ({found.name})'
  return Layer(
    name=found.name,
    type=kind,
    bottoms=tuple(found.bottom),
    tops=tuple(found.top),
    blobs=tuple(_blob(view, where) for view in blobs[blobs_field]),
    settings=found,
  )


def _blob(view, where) -> Float[np.ndarray, '...']:
  """A blob's numbers in its shape; float16, float32 or float64."""
  # C3D's blobs have a fifth size where others have their numbers.
  numbers = {number: wire for number, wire, _ in _fields(view, where)}
  if numbers.get(5) == _VARINT:
    rest, found = _cut(view, (6, 7), where)
    text = _parsed('VolumeBlob', rest, where)
    sizes = (text.num, text.channels, text.length, text.height, text.width)
    return _shaped(found[6], '<f4', sizes, where)
  rest, found = _cut(view, (5, 6, 8, 9, 12, 13), where)
  text = _parsed('Blob', rest, where)
  sizes = (text.num, text.channels, text.height, text.width)
  if text.HasField('shape'):
    sizes = tuple(text.shape.dim)
  if found[8]:
    return _shaped(found[8], '<f8', sizes, where)
  if not found[12]:
    return _shaped(found[5], '<f4', sizes, where)
  if text.raw_data_type not in _RAW_TYPES:
    raise CaffeError(
      f'{where} keeps its numbers as type {text.raw_data_type}; read are 0 '
      '(64 bits), 1 (32 bits) and 2 (16 bits)'
    )
  return _shaped(found[12], _RAW_TYPES[text.raw_data_type], sizes, where)


def _shaped(pieces, dtype, sizes, where):
  held = sum(len(piece) for piece in pieces)
  wanted = int(np.prod(sizes, dtype=np.int64)) * np.dtype(dtype).itemsize
  if held != wanted or min(sizes, default=1) < 0:
    raise CaffeError(
      f'{where} has a blob of shape {tuple(sizes)}, {wanted} bytes, but holds '
      f'{held}; the file is damaged, download it again'
    )
  # A message may bring its numbers in pieces, which are joined.
  data = pieces[0] if len(pieces) == 1 else b''.join(pieces)
  return np.frombuffer(data, dtype).reshape(sizes)


def _fields(
  view: memoryview, where: str
) -> Iterator[tuple[int, int, memoryview]]:
  """Yields (field number, wire type, body) of a message."""
  for number, wire, _, body, end in _spans(view, where):
    yield number, wire, view[body:end]


def _cut(view, numbers, where) -> tuple[bytes, Mapping[int, list[memoryview]]]:
  """Returns a message without some length-delimited fields, and those."""
  rest, found = bytearray(), {number: [] for number in numbers}
  for number, wire, start, body, end in _spans(view, where):
    if wire == _LENGTH and number in found:
      found[number].append(view[body:end])
    else:
      rest += view[start:end]
  return bytes(rest), found


def _spans(view, where):
  """Yields (number, wire type, start, start of the body, end) of fields."""
  at = 0
  while at < len(view):
    start = at
    tag, at = _varint(view, at, where)
    number, wire, body = tag >> 3, tag & 7, at
    if wire == _LENGTH:
      length, body = _varint(view, at, where)
      at = body + length
    elif wire == _VARINT:
      _, at = _varint(view, at, where)
    elif wire in (_FIXED32, _FIXED64):
      at += 4 if wire == _FIXED32 else 8
    else:
      raise CaffeError(
        f'{where}: no field of a message begins {start} bytes from its start; '
        'the file is damaged or no Caffe model'
      )
    if at > len(view) or not number:
      raise CaffeError(
        f'{where}: field {number}, {start} bytes from its start, ends behind '
        f'the end ({at} of {len(view)} bytes); the file is cut short or no '
        'Caffe model, download it again'
      )
    yield number, wire, start, body, at


def _varint(view, at, where):
  value = shift = 0
  while at < len(view) and shift < 64:
    byte = view[at]
    value |= (byte & 127) << shift
    at, shift = at + 1, shift + 7
    if byte < 128:
      return value, at
  raise CaffeError(
    f'{where}: a number {at} bytes from its start has no end; the file is cut '
    'short or no Caffe model, download it again'
  )


def _parsed(kind, data, where):
  try:
    return _classes()[kind].FromString(data)
  except message.DecodeError as error:
    raise CaffeError(
      f'{where} is no {kind} of Caffe ({error}); the file is damaged or no '
      'Caffe model'
    ) from error


@functools.cache
def _classes():
  """Message classes by name."""
  field = descriptor_pb2.FieldDescriptorProto
  file = descriptor_pb2.FileDescriptorProto(
    name='caffe_models.proto', package='caffe_models', syntax='proto2'
  )
  for name, fields in _MESSAGES.items():
    described = file.message_type.add(name=name)
    for number, title, kind in fields:
      base = kind.rstrip('+')
      one = described.field.add(name=title, number=number)
      one.label = (
        field.LABEL_REPEATED if kind.endswith('+') else field.LABEL_OPTIONAL
      )
      if base in _MESSAGES:
        one.type, one.type_name = field.TYPE_MESSAGE, f'.caffe_models.{base}'
      else:
        one.type = getattr(field, f'TYPE_{base.upper()}')
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  return {
    name: message_factory.GetMessageClass(
      pool.FindMessageTypeByName(f'caffe_models.{name}')
    )
    for name in _MESSAGES
  }
