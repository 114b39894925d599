"""What rate of features would fit a video."""


def fitting(
  num_snippets: int, duration_sec: float | int, from_video: bool
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
