import numpy as np
import pytest

from cmsn_jax.files import feature_rates

Grid = feature_rates.Grid


@pytest.mark.parametrize(
  ('num_snippets', 'duration', 'rate', 'fits'),
  [
    (100, 20.0, 5, True),
    (102, 20.0, 5, True),  # two snippets off
    (103, 20.0, 5, False),
    (97, 20.0, 5, False),
    (3, 1.0, 5, True),
    (1, 1.0, 5, False),
    (1020, 200.0, 5, True),  # two percent off
    (1021, 200.0, 5, False),
    (313, 100.0, 3.125, True),
  ],
)
def test_mismatch(num_snippets, duration, rate, fits):
  found = feature_rates.mismatch('v', num_snippets, duration, Grid(rate))
  assert (found is None) == fits
  if not fits:
    assert found.startswith(f'v: found {num_snippets} snippets')


@pytest.mark.parametrize(
  ('num_snippets', 'words'),
  [
    (312, '3.125 would fit (as 25 frames per second, one snippet every 8'),
    (3000, '30 would fit'),
    (1600, '16 would fit'),
    (7300, '73 would fit'),
  ],
)
def test_advice_names_the_rate_that_would_fit(num_snippets, words):
  found = feature_rates.advice(num_snippets, 100.0, Grid(5), True)
  assert f'feature_fps {words}' in found


def test_advice_speaks_of_frames_only_where_there_is_video():
  found = feature_rates.advice(312, 100.0, Grid(5), False)
  assert 'feature_fps 3.125 would fit. If' in found


@pytest.mark.parametrize('fps', [25, 29.97, 30])
@pytest.mark.parametrize(
  ('window', 'stride', 'offset'),
  [(16, 4, 0), (16, 16, 0), (64, 8, 3), (4, 4, 9)],
)
def test_windowed(fps, window, stride, offset):
  # Slowly, from what the words mean.
  for num_frames in (100, 451, 1000):
    centres = [
      (start + window / 2) / fps
      for start in range(offset, num_frames - window + 1, stride)
    ]
    grid = feature_rates.windowed(fps / stride, window, stride, offset)
    rows = np.arange(len(centres))
    np.testing.assert_allclose(
      grid.offset_sec + (rows + 0.5) / grid.feature_fps, centres
    )
    assert -1 <= len(centres) - grid.rows(num_frames / fps) <= 0


def test_a_padded_extractor_gives_a_row_every_stride():
  # 8 frames of padding at both ends: (N + 16 - 16) // 4 + 1 rows.
  grid = feature_rates.windowed(7.5, 16, 4, -8)
  assert abs(grid.rows(451 / 30) - 113.75) < 1e-9
  assert grid.offset_sec + 0.5 / 7.5 == pytest.approx(0)
