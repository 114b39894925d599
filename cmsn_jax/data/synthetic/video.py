"""Rendered untrimmed videos with known actions, as real h264 files.

Two actors (a disc, a square) linger at the border. Now and then one comes to a
marked place, moves there in one of three ways, and leaves: the action is the
moving. Others come and go without moving, or twitch where they are; a third
shape crosses the picture all the time. So no single frame tells an action, nor
does motion alone, nor being at the place alone. Camera shake, flicker, noise,
colours and frame rate differ from video to video.
"""

import fractions
import os
import pathlib
from collections.abc import Iterable

import av
import numpy as np
from jaxtyping import Float, UInt8

from cmsn_jax import progress as progress_lib
from cmsn_jax.data.synthetic import script
from cmsn_jax.files import replacing
from cmsn_jax.video import painting

# Amplitudes are in picture heights.
_RADIUS = 0.11
_SWING = 0.13
_FREQUENCIES_HZ = {'circle': 0.7, 'shake': 1.6, 'pump': 1.0, 'twitch': 1.6}
_RATE_FACTORS = (1.0, 1.2, 1.5)
_NUM_NOISE = 32
# x264's fastest code paths round differently from run to run on some machines.
_X264 = {
  'preset': 'veryfast',
  'crf': '23',
  'x264-params': 'cpu-independent=1',
}


def generate(
  folder: str | os.PathLike,
  *,
  num_videos: int = 30,
  duration_sec: float = 60.0,
  seed: int = 0,
  size: tuple[int, int] = (64, 84),
  fps: float = 10.0,
  median_sec: float = 4.0,
  progress: bool = False,
) -> pathlib.Path:
  """Writes `videos/<id>.mp4` and `annotations.json` into a folder.

  The same arguments give the same files.

  Args:
    folder: where to; made if absent.
    num_videos: at least 3; three fifths are training, a fifth each validation
      and testing.
    duration_sec: mean length of a video; they vary by a quarter.
    seed: of everything.
    size: (height, width) in pixels, even numbers of at least 32.
    fps: lowest frame rate; every third video has it, others 1.2 and 1.5 times.
    median_sec: median length of an action.
    progress: show a bar.

  Returns:
    The path of the annotations; videos are in `videos` beside it.

  Raises:
    ValueError: a size that cannot be encoded, too few or too short videos.
  """
  script.check_duration(duration_sec)
  if min(size) < 32 or size[0] % 2 or size[1] % 2:
    raise ValueError(f'size must be even numbers of at least 32, got {size}')
  folder = pathlib.Path(folder)
  (folder / 'videos').mkdir(parents=True, exist_ok=True)
  scripts = {}
  subsets = script.subsets(num_videos)
  for number, subset in enumerate(
    progress_lib.bar(
      subsets, desc='rendering', unit='video', quiet=not progress
    )
  ):
    rng = np.random.default_rng([seed, 2, number])
    rate = fractions.Fraction(
      fps * _RATE_FACTORS[number % len(_RATE_FACTORS)]
    ).limit_denominator(1001)
    num_frames = round(duration_sec * rng.uniform(0.75, 1.25) * rate)
    length_sec = float(num_frames / rate)
    events = script.write(length_sec, rng, median_sec)
    video_id = f'video_{number:03d}'
    times_sec = np.arange(num_frames) / float(rate)
    encode(
      folder / 'videos' / f'{video_id}.mp4',
      render(events, times_sec, size, rng),
      rate,
    )
    scripts[video_id] = subset, length_sec, events
  path = folder / 'annotations.json'
  script.write_annotations(path, scripts)
  return path


def encode(
  path: pathlib.Path,
  frames: Iterable[UInt8[np.ndarray, 'h w 3']],
  rate: fractions.Fraction,
) -> None:
  """Writes RGB frames to an h264 mp4, whole or not at all.

  Args:
    path: of the file.
    frames: all of one size.
    rate: frames a second.
  """
  convert = painting.reformatter()
  with (
    replacing.path(path) as temporary,
    av.open(temporary, 'w', format='mp4') as container,
  ):
    stream = container.add_stream('libx264', rate=rate, options=_X264)
    stream.thread_count = 1  # its output depends on the number of threads
    stream.pix_fmt = 'yuv420p'
    for index, image in enumerate(frames):
      if not index:
        stream.height, stream.width = image.shape[:2]
      frame = av.VideoFrame.from_ndarray(image, format='rgb24')
      frame = convert(frame, frame.width, frame.height, 'yuv420p')
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def render(
  events: list[script.Event],
  times_sec: Float[np.ndarray, ' f'],
  size: tuple[int, int],
  rng: np.random.Generator,
):
  """Yields one uint8 `[h, w, 3]` frame for each time."""
  height, width = size
  aspect = width / height
  place = np.array([rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.6) * aspect])
  homes = np.array([[0.2, 0.15], [0.8, 0.85]]) * [1, aspect]
  homes = homes + rng.uniform(-0.08, 0.08, (2, 2))
  turns = rng.integers(2, size=len(events))
  actors = [
    track(
      [event for event, turn in zip(events, turns) if turn == actor],
      times_sec,
      homes[actor],
      place,
      rng,
    )
    for actor in range(2)
  ]
  paint = _Painter(size, place, rng)
  passer = _passer(times_sec, aspect, rng)
  for index in range(len(times_sec)):
    yield paint([(*actor[index],) for actor in actors], passer[index], rng)


def track(
  events: list[script.Event],
  times_sec: Float[np.ndarray, ' f'],
  home: Float[np.ndarray, '2'],
  place: Float[np.ndarray, '2'],
  rng: np.random.Generator,
) -> Float[np.ndarray, 'f 3']:
  """An actor's (row, column, scale) at each time, in picture heights."""
  phase = rng.uniform(0, 2 * np.pi, 2)
  slow = 2 * np.pi * rng.uniform(0.05, 0.12, 2)
  wander = 0.05 * np.sin(times_sec[:, None] * slow + phase)
  near = np.zeros(len(times_sec))
  motion = np.zeros((len(times_sec), 3))
  for event in events:
    inside = (event.start_sec <= times_sec) & (times_sec < event.end_sec)
    if event.kind != 'twitch':
      coming = (times_sec - event.start_sec) / event.approach_sec + 1
      leaving = 1 - (times_sec - event.end_sec) / event.withdraw_sec
      both = np.clip(np.minimum(coming, leaving), 0, 1)
      near = np.maximum(near, both * both * (3 - 2 * both))
    motion += inside[:, None] * _motion(event, times_sec)
  out = np.zeros((len(times_sec), 3))
  out[:, :2] = home + wander + near[:, None] * (place - home - wander)
  return out + motion + [0, 0, 1]


def _motion(event, times_sec) -> np.ndarray:
  """(row, column, scale) offsets of an event's motion, were it always on."""
  since = times_sec - event.start_sec
  length = event.end_sec - event.start_sec
  if event.kind == 'pass':  # walks on through the place
    across = 0.3 * (np.clip(since / length, 0, 1) - 0.5)
    return np.stack([0 * across, across, 0 * across], axis=1)
  if event.kind == 'pause':
    return np.zeros((len(times_sec), 3))
  angle = 2 * np.pi * _FREQUENCIES_HZ[event.kind] * event.speed * since
  cosine, sine, none = np.cos(angle), np.sin(angle), np.zeros_like(angle)
  if event.kind == 'circle':
    return np.stack([_SWING * cosine, _SWING * sine, none], axis=1)
  if event.kind == 'pump':
    return np.stack([0.04 * sine, none, 0.45 * sine], axis=1)
  return np.stack([none, _SWING * sine, none], axis=1)  # shake, twitch


def _passer(times_sec, aspect, rng) -> np.ndarray:
  """(row, column) of the shape that keeps crossing the picture."""
  period = rng.uniform(6, 12)
  along = (times_sec / period + rng.random()) % 2
  along = np.where(along < 1, along, 2 - along)
  row = rng.uniform(0.75, 0.9) if rng.random() < 0.5 else rng.uniform(0.1, 0.25)
  rows = row + 0.05 * np.sin(2 * np.pi * times_sec / period * 3)
  return np.stack([rows, along * aspect], axis=1)


class _Painter:
  """Draws one video's frames: its colours, background and camera."""

  def __init__(self, size, place, rng):
    height, width = size
    self._size = size
    self._grid = np.mgrid[:height, :width].astype(np.float32) + 0.5
    tones = rng.uniform(0.25, 0.6, (5, 6, 3)).astype(np.float32)
    rows = np.linspace(0, 4, height)
    columns = np.linspace(0, 5, width)
    self._background = _interpolated(tones, rows, columns)
    self._place = place
    self._colours = rng.uniform(0, 1, (3, 3)).astype(np.float32)
    # Bright red and blue actors of varying tint, so that they stand out.
    self._colours[0] = (rng.uniform(0.8, 1), *rng.uniform(0, 0.3, 2))
    self._colours[1] = (*rng.uniform(0, 0.3, 2), rng.uniform(0.8, 1))
    noise = rng.standard_normal((_NUM_NOISE, height, width, 3), np.float32)
    self._noise = rng.uniform(0.02, 0.05) * noise
    self._brightness = 1.0

  def __call__(self, actors, passer, rng) -> UInt8[np.ndarray, 'h w 3']:
    shake = rng.normal(0, 0.004, 2)
    self._brightness += 0.1 * (1 - self._brightness) + rng.normal(0, 0.01)
    image = self._background.copy()
    self._blend(image, self._place + shake, 0.2, 'ring', np.float32(0.9))
    self._blend(image, passer + shake, 0.07, 'diamond', self._colours[2])
    for (row, column, scale), shape, colour in zip(
      actors, ('disc', 'square'), self._colours
    ):
      centre = np.array([row, column]) + shake
      self._blend(image, centre, _RADIUS * scale, shape, colour)
    image *= np.float32(self._brightness)
    image += np.roll(
      self._noise[rng.integers(_NUM_NOISE)], rng.integers(self._size[0]), 0
    )
    return (255 * image.clip(0, 1) + 0.5).astype(np.uint8)

  def _blend(self, image, centre, radius, shape, colour):
    height = self._size[0]
    box = _box(height * centre, height * radius + 1)
    image, grid = image[box], self._grid[(slice(None), *box)]
    down, right = grid - height * centre[:, None, None].astype(np.float32)
    if shape == 'square':
      distance = np.maximum(np.abs(down), np.abs(right)) * 1.1
    elif shape == 'diamond':
      distance = np.abs(down) + np.abs(right)
    else:
      distance = np.sqrt(down * down + right * right)
    if shape == 'ring':
      cover = (1.0 - np.abs(distance - height * radius)).clip(0, 1) * 0.7
    else:
      cover = (height * radius - distance + 0.5).clip(0, 1)
    image += cover[..., None] * (colour - image)


def _box(centre, reach):
  """Rows and columns of the pixels no further off; what is beyond stays."""
  first = np.maximum(np.floor(centre - reach), 0).astype(int)
  last = np.maximum(np.ceil(centre + reach), 0).astype(int)
  return tuple(slice(low, high) for low, high in zip(first, last))


def _interpolated(tones, rows, columns) -> np.ndarray:
  """Bilinear enlargement of a small picture to the given coordinates."""
  for axis, at in ((0, rows), (1, columns)):
    low = np.minimum(at.astype(int), tones.shape[axis] - 2)
    share = (at - low).astype(np.float32)
    share = share[:, None, None] if axis == 0 else share[:, None]
    tones = (1 - share) * tones.take(low, axis) + share * tones.take(
      low + 1, axis
    )
  return tones
