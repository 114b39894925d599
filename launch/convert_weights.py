r"""Converts another framework's weights to a weight folder of ours.

    python -m launch.convert_weights --source=c3d.pth --backbone=c3d \
      --output=weights/c3d
    python -m launch.convert_weights --source=resnet200_anet_2016.caffemodel \
      --backbone=resnet --output=weights/rgb

Reads PyTorch checkpoints (.pth, .pth.tar) without torch and runs nothing that
they hold, and Caffe models (.caffemodel) without Caffe. Every layer is accounted for. The folder gets weights.npz and
weights.json: layout, mean, channel order, checksum of the source.

Mean and channel order default to what files of the recognised layout are
published with; give your own where a file was trained otherwise:

    --mean=90,98,102 --channel_order=bgr --scale=1

--backbone=resnet and --backbone=bn_inception convert the streams of TSN
(docs/extractors.md: which layouts); depth, channels and classes are read off
the file, of a Caffe ResNet also which variant it is.
"""

from absl import flags

from . import cli

_SOURCE = flags.DEFINE_string('source', '', 'The checkpoint.')
_BACKBONE = flags.DEFINE_enum(
  'backbone', 'c3d', ['c3d', 'resnet', 'bn_inception'], 'Its network.'
)
_OUTPUT = flags.DEFINE_string('output', '', 'Folder for the weights.')
_MEAN = flags.DEFINE_list(
  'mean',
  None,
  'Subtracted from values 0 to 255: one number, or one a channel in '
  '--channel_order.',
)
_SCALE = flags.DEFINE_list(
  'scale', ['1'], 'Multiplied afterwards: one number, or one a channel.'
)
_CHANNEL_ORDER = flags.DEFINE_enum(
  'channel_order', None, ['rgb', 'bgr'], 'Of the frames it was trained on.'
)
_WIDTHS = flags.DEFINE_list(
  'widths',
  ['64', '128', '256', '512', '512'],
  'Output channels of the five blocks.',
)


_PREACTIVATION = flags.DEFINE_bool(
  'preactivation', False, 'ResNet: normalises before its convolutions.'
)
_STRIDE_IN_1X1 = flags.DEFINE_bool(
  'stride_in_1x1', False, 'ResNet: halves in its first 1x1 (Caffe).'
)


def main(argv):
  """Converts."""
  del argv
  cli.require(source=_SOURCE.value, output=_OUTPUT.value)
  if _BACKBONE.value != 'c3d':
    return _convert_stream()
  from cmsn_jax.features.weights import c3d, folders

  found = c3d.convert(
    _SOURCE.value,
    widths=tuple(_numbers('widths', _WIDTHS.value, 5, int)),
    channel_order=_CHANNEL_ORDER.value,
    mean=_MEAN.value and _numbers('mean', _MEAN.value, 3, float),
    scale=_numbers('scale', _SCALE.value, 3, float),
  )
  folders.save(_OUTPUT.value, found)
  print(report(found, _OUTPUT.value))
  return 0


def _convert_stream():
  from cmsn_jax.features.weights import folders, tsn

  mean = _MEAN.value and _some_numbers('mean', _MEAN.value)
  std = None
  if _SCALE.present:
    std = [1 / value for value in _some_numbers('scale', _SCALE.value)]
  found = tsn.convert_file(
    _SOURCE.value,
    _BACKBONE.value,
    mean=mean,
    std=std,
    channel_order=_CHANNEL_ORDER.value,
    preactivation=_PREACTIVATION.value,
    stride_in_1x1=_STRIDE_IN_1X1.value,
  )
  folders.save(_OUTPUT.value, found)
  text = found.description
  depth = f'-{text["depth"]}' if text['depth'] else ''
  lines = [
    f'{text["source"]}: {text["backbone"]}{depth}, {text["channels"]} channels, '
    f'{text["num_classes"]} classes, sha256 {text["source_sha256"][:12]}',
    f'converted to {_OUTPUT.value}',
    f'frames: {text["channel_order"]}, mean {text["mean"]}, deviation '
    f'{text["std"]}',
  ]
  if 'pool_ceil' in text:
    lines.append(
      f'found: normalises {"before" if text["preactivation"] else "after"} its '
      'convolutions, halves in its '
      f'{"first 1x1" if text["stride_in_1x1"] else "3x3"}, first pool padded by '
      f'{text["pool_padding"]} and rounded {"up" if text["pool_ceil"] else "down"}'
    )
  print('\n'.join(lines))
  return 0


def _some_numbers(name, values):
  numbers = _numbers(name, values, len(values), float)
  if name == 'scale' and 0 in numbers:
    raise ValueError('--scale must not be 0')
  return numbers


def report(found, folder: str) -> str:
  """What was converted, for people."""
  text = found.description
  arrays = sum(len(layer) for layer in found.params.values())
  numbers = sum(a.size for layer in found.params.values()
                for a in layer.values())  # fmt: skip
  lines = [
    f'{text["source"]}: C3D in layout {text["layout"]!r}, sha256 '
    f'{text["source_sha256"][:12]}',
    f'{arrays} arrays, {numbers:,} numbers converted to {folder}',
    f'frames: {text["channel_order"]}, mean {text["mean"]}, scale '
    f'{text["scale"]}',
  ]
  if text['ignored']:
    lines.append(
      f'left out (no part of the feature extractor): '
      f'{", ".join(text["ignored"])}'
    )
  return '\n'.join(lines)


def _numbers(name, values, count, kind):
  try:
    numbers = [kind(value) for value in values]
  except ValueError as error:
    raise ValueError(f'--{name} must be numbers, got {values}') from error
  if len(numbers) == 1 and kind is float:
    numbers *= count
  if len(numbers) != count:
    raise ValueError(f'--{name} must have {count} numbers, got {values}')
  return numbers


if __name__ == '__main__':
  cli.run(main)
