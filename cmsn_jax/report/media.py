"""Videos for the report: links beside the page, and strips of small frames."""

import base64
import io
import os
import pathlib
import urllib.parse
from collections.abc import Iterable

_STRIP_HEIGHT = 92


def find(
  folder: str | os.PathLike, ids: Iterable[str]
) -> dict[str, pathlib.Path]:
  """The video file of each id that has one, by name without suffix.

  Args:
    folder: folder of video files.
    ids: video ids.
  Returns:
    files by id.
  Raises:
    ValueError: if the folder holds no video, or none of these ids.
  """
  # PyAV is slow to import and only needed where videos are given.
  from cmsn_jax.video import video_files

  files = video_files.find_videos(folder)
  ids = list(ids)
  found = {video_id: files[video_id] for video_id in ids if video_id in files}
  if ids and not found:
    raise ValueError(
      f'{folder}: none of its {len(files)} videos (such as '
      f'{next(iter(files))!r}) is named like one of the {len(ids)} ids (such '
      f'as {ids[0]!r}); a file is found as <id>.mp4'
    )
  return found


def link(file: pathlib.Path, output: pathlib.Path) -> str:
  """Address of `file` relative to the folder of the page, percent-encoded."""
  relative = os.path.relpath(file, pathlib.Path(output).parent)
  # './' keeps a name with a colon from being read as 'scheme:…'.
  return './' + urllib.parse.quote(pathlib.PurePath(relative).as_posix())


def strip(
  file: pathlib.Path, duration_sec: float | int, count: int
) -> list[tuple[float, str]]:
  """Evenly spaced small frames of a video.

  Args:
    file: the video.
    duration_sec: its length.
    count: how many frames.
  Returns:
    (time in seconds, JPEG as data address) of each frame.
  Raises:
    ValueError: if the file cannot be decoded.
  """
  from PIL import Image

  from cmsn_jax.video import decoding

  info = decoding.probe(file)
  size = (
    _STRIP_HEIGHT,
    max(8, round(_STRIP_HEIGHT * info.width / info.height)),
  )
  # Annotated and real durations may differ; the file's own one can be decoded.
  rate = count / min(duration_sec, info.duration_sec)
  frames = []
  for index in range(count):
    for chunk in decoding.frames(
      file, fps=rate, size=size, start_frame=index, stop_frame=index + 1
    ):
      buffer = io.BytesIO()
      Image.fromarray(chunk[0]).save(buffer, 'JPEG', quality=62)
      encoded = base64.b64encode(buffer.getvalue()).decode('ascii')
      frames.append(((index + 0.5) / rate, f'data:image/jpeg;base64,{encoded}'))
  return frames
