"""Bodies hold features, or are refused in words."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsn_jax.serving import bodies
from tests.serving import serving

_ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize('dtype', ['<f4', '>f4', '<f8', '<f2', '<i4', 'u1'])
@pytest.mark.parametrize('order', ['C', 'F'])
def test_npy_is_read_as_numpy_reads_it(dtype, order):
  rows = np.asarray(_ROWS, dtype, order=order)
  np.testing.assert_array_equal(bodies.npy(serving.npy(rows)).rows, rows)


def test_npy_of_objects_is_refused_unread():
  class Bomb:
    def __reduce__(self):
      return exec, ("raise SystemExit('the body was run')",)

  body = serving.npy(np.array([[Bomb()]], object), allow_pickle=True)
  with pytest.raises(bodies.BodyError, match='objects are not read'):
    bodies.npy(body)


@pytest.mark.parametrize(
  ('body', 'message'),
  [
    (b'', 'no .npy'),
    (b'PK\x03\x04' + bytes(50), 'no .npy'),
    (b'\x93NUMPY\x09\x00', 'no .npy'),
    (b'\x93NUMPY\x01\x00\xff\xff{', 'no .npy'),
    (serving.npy(_ROWS)[:-1], '23 after its header'),
    (serving.npy(_ROWS) + b'x', '25 after its header'),
    (serving.npy(_ROWS[0]), r'\[t, d\], got \(2,\)'),
    (serving.npy(_ROWS[:0]), r'\[t, d\], got \(0, 2\)'),
    (serving.npy(_ROWS + 0j), 'complex'),
    (serving.npy(np.array([['a']])), 'expected numbers'),
    (serving.npy(np.zeros((2, 2), 'f4,i4')), 'expected numbers'),
    (serving.npy(np.float32([[1, 1], [np.inf, 1], [1, 1]])),
     'row 1, column 0 is inf'),
    (serving.npy(_ROWS).replace(b'(3, 2)', b'(9**9**9,)'), 'no .npy'),
    (serving.npy(_ROWS).replace(b'(3, 2), }', b'(-3, -2)}'), 'shape'),
  ],
)  # fmt: skip
def test_what_is_no_npy_is_refused(body, message):
  with pytest.raises(bodies.BodyError, match=message):
    with np.errstate(all='ignore'):
      bodies.npy(body)


@given(st.binary(max_size=300), st.integers(0, 90), st.integers(0, 90))
def test_damaged_npy_is_refused_or_read(noise, start, stop):
  good = serving.npy(_ROWS)
  for body in (noise, good[:start] + noise + good[stop:], good[:6] + noise):
    try:
      found = bodies.npy(body).rows
    except bodies.BodyError:
      continue
    assert found.ndim == 2 and np.isfinite(found).all()


def test_json_is_read():
  body = {'features': [[1, 2.5], [3, 4]], 'feature_fps': 5, 'duration_sec': 9}
  found = bodies.of_json(json.dumps(body).encode())
  np.testing.assert_array_equal(found.rows, [[1, 2.5], [3, 4]])
  assert found.rows.dtype == np.float32
  assert (found.feature_fps, found.duration_sec) == (5, 9)


@pytest.mark.parametrize(
  ('body', 'message'),
  [
    (b'', 'no JSON'),
    (b'[' * 100_000, 'no JSON'),
    (b'\xff\xfe', 'no JSON'),
    (b'[[1]]', '"features"'),
    (b'{"features": [[1], [1, 2]]}', 'as many numbers'),
    (b'{"features": [["a"]]}', 'as many numbers'),
    (b'{"features": [[{}]]}', 'as many numbers'),
    (b'{"features": 5}', 'shape'),
    (b'{"features": []}', 'shape'),
    (b'{"features": [[NaN]]}', 'row 0, column 0 is nan'),
    (b'{"features": [[1e99]]}', 'finite'),
    (b'{"features": [[1]], "fps": 5}', 'unknown keys: fps'),
    (b'{"features": [[1]], "feature_fps": -1}', 'feature_fps must be'),
    (b'{"features": [[1]], "duration_sec": "x"}', 'duration_sec must be'),
  ],
)
def test_what_is_no_json_of_features_is_refused(body, message):
  with pytest.raises(bodies.BodyError, match=message):
    with np.errstate(all='ignore'):
      bodies.of_json(body)
