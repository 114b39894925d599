"""Features out of a request's body; nothing in it is run."""

import io
import json
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

# Longest header of an .npy that is parsed.
_HEADER_BYTES = 10_000


class BodyError(ValueError):
  """A body that holds no features; the message says what it holds."""


class Features(NamedTuple):
  """What a body says.

  Attributes:
    rows: [t, d], finite numbers.
    feature_fps: rows a second, where the body says so.
    duration_sec: of the video, where the body says so.
  """

  rows: Shaped[np.ndarray, 't d']
  feature_fps: float | None = None
  duration_sec: float | None = None


def npy(body: bytes) -> Features:
  """Features of an .npy file's contents, a view of them.

  Raises:
    BodyError: on anything else, arrays of Python objects included.
  """
  file = io.BytesIO(body)
  try:
    version = np.lib.format.read_magic(file)
    read = {
      (1, 0): np.lib.format.read_array_header_1_0,
      (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, by_columns, dtype = read(file, max_header_size=_HEADER_BYTES)
  except Exception as error:
    # numpy reads the header as a Python literal, which fails in many ways.
    raise BodyError(f'the body is no .npy file: {error}') from None
  if dtype.kind not in 'fiu':
    raise BodyError(
      f'the array holds {dtype}, expected numbers; Python objects are not read'
    )
  _check_shape(shape)
  start, size = file.tell(), shape[0] * shape[1] * dtype.itemsize
  if len(body) - start != size:
    raise BodyError(
      f'the .npy says {shape} of {dtype}, {size} bytes; the body has '
      f'{len(body) - start} after its header'
    )
  order = 'F' if by_columns else 'C'
  rows = np.frombuffer(body, dtype, offset=start).reshape(shape, order=order)
  return Features(_finite(rows))


def of_json(body: bytes) -> Features:
  """Features of `{"features": [[...], ...], "feature_fps": 5}`.

  `feature_fps` and `duration_sec` may be left out.

  Raises:
    BodyError: on anything else.
  """
  try:
    document = json.loads(body)
  except (ValueError, RecursionError) as error:
    raise BodyError(f'the body is no JSON: {error}') from None
  if not isinstance(document, dict) or 'features' not in document:
    raise BodyError('the body must be a JSON object with "features": [[...]]')
  unknown = set(document) - {'features', 'feature_fps', 'duration_sec'}
  if unknown:
    raise BodyError(f'the body has unknown keys: {", ".join(sorted(unknown))}')
  try:
    rows = np.array(document['features'], np.float32)
  except (ValueError, TypeError, OverflowError, RecursionError):
    raise BodyError('"features" must be rows of as many numbers each') from None
  _check_shape(rows.shape)
  return Features(
    _finite(rows),
    positive('feature_fps', document.get('feature_fps')),
    positive('duration_sec', document.get('duration_sec')),
  )


def positive(name: str, value: object) -> float | None:
  """A number above 0, or None.

  Raises:
    BodyError: on anything else; it names it.
  """
  if value is None:
    return None
  try:
    number = float(value)  # type: ignore[arg-type]
  except (TypeError, ValueError, OverflowError):
    number = 0.0
  if not 0 < number < 1e9:
    raise BodyError(f'{name} must be a number above 0, got {value!r:.50}')
  return number


def _check_shape(shape):
  if len(shape) != 2 or min(shape) < 1:
    raise BodyError(f'features must have shape [t, d], got {shape}')


def _finite(rows):
  finite = np.isfinite(rows)
  if not finite.all():
    row, column = np.argwhere(~finite)[0].tolist()
    raise BodyError(
      f'features must be finite: row {row}, column {column} is '
      f'{rows[row, column]}'
    )
  return rows
