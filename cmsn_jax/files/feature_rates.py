"""How feature rows lie in time, and what rate would fit a video."""

from typing import NamedTuple


class Grid(NamedTuple):
  """A video's rows in time: row i spans `offset_sec + [i, i + 1) / feature_fps`.

  Attributes:
    feature_fps: rows a second.
    offset_sec: where the span of row 0 begins: above 0 where a row is computed
      from a window longer than the step to the next.
    lost_rows: how many rows fewer than duration x rate there are, for the same
      reason.
  """

  feature_fps: float | int
  offset_sec: float | int = 0.0
  lost_rows: float | int = 0.0

  def rows(self, duration_sec: float | int) -> float:
    """How many rows a video of this duration should have."""
    return max(1.0, duration_sec * self.feature_fps - self.lost_rows)


def windowed(
  feature_fps: float | int,
  window: float | int,
  stride: float | int,
  offset: float | int = 0.0,
) -> Grid:
  """Row i centred at (offset + i stride + window / 2) / video fps.

  Args:
    feature_fps: rows a second, the video's rate / stride.
    window: frames that a row is computed from.
    stride: frames from a row to the next.
    offset: frame at which the first window begins; below 0 where the extractor
      pads the video, likewise at its end.
  """
  start = offset + (window - stride) / 2
  lost = (window + offset * (2 if offset < 0 else 1)) / stride - 1
  return Grid(feature_fps, start / (feature_fps * stride), lost)


def mismatch(
  video_id: str, num_snippets: int, duration_sec: float | int, grid: Grid
) -> str | None:
  """In what features differ from the length of their video, if they do.

  More than 2 snippets and more than 2 % count as different.
  """
  expected = grid.rows(duration_sec)
  difference = abs(num_snippets - expected)
  if difference <= 2 or difference <= 0.02 * expected:
    return None
  return (
    f'{video_id}: found {num_snippets} snippets, expected about '
    f'{expected:.0f} ({duration_sec:g} s at feature_fps '
    f'{grid.feature_fps:g})'
  )


def advice(
  num_snippets: int, duration_sec: float | int, grid: Grid, from_video: bool
) -> str:
  """What to do about a mismatch: the rate that would fit."""
  fits = fitting(num_snippets + grid.lost_rows, duration_sec, from_video)
  return (
    f'{fits}. If the rate is right, the features or the duration are of '
    'another video, or one of them is cut off'
  )


def fitting(
  num_snippets: float | int, duration_sec: float | int, from_video: bool
) -> str:
  """'feature_fps … would fit', from what there is of a video.

  Args:
    num_snippets: of the video.
    duration_sec: its duration.
    from_video: whether the snippets were made from frames, every so many.
  """
  if duration_sec <= 0:
    return 'the duration must be positive'
  rate = num_snippets / duration_sec
  slack = max(0.002 * rate, 1 / duration_sec)
  usual = [
    (fps, stride)
    for fps in (25, 30, 29.97, 24, 15, 50, 60)
    for stride in (1, 2, 4, 5, 6, 8, 10, 12, 15, 16, 20, 25, 30, 32, 64)
  ]
  fps, stride = min(usual, key=lambda pair: abs(pair[0] / pair[1] - rate))
  if abs(fps / stride - rate) > slack:
    return f'feature_fps {rate:.4g} would fit'
  fits = f'feature_fps {fps / stride:.5g} would fit'
  if not from_video:
    return fits
  return f'{fits} (as {fps:g} frames per second, one snippet every {stride})'
