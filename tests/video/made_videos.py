"""Small video files whose every frame shows its own index."""

import fractions

import av
import numpy as np

from cmsn_jax.video import decoding

HEIGHT, WIDTH = 96, 160
_BITS = 10


def picture(index: int, height: int = HEIGHT, width: int = WIDTH):
  """Ten bits of the index in black and white, 5 x 2; top left corner red."""
  image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
  for bit in range(_BITS):
    row, column = divmod(bit, 5)
    if index >> bit & 1:
      top, left = 32 + 32 * row, 32 * column
      image[top : top + 32, left : left + 32] = 255
  image[:32, :40] = (255, 0, 0)
  if (height, width) != (HEIGHT, WIDTH):
    rows = np.arange(height) * HEIGHT // height
    columns = np.arange(width) * WIDTH // width
    image = image[rows][:, columns]
  return image


def index_of(image) -> int:
  """The index that `picture` drew, from an upright frame of any size."""
  height, width = image.shape[:2]
  found = 0
  for bit in range(_BITS):
    row, column = divmod(bit, 5)
    y, x = (48 + 32 * row) / HEIGHT, (16 + 32 * column) / WIDTH
    found |= int(image[int(y * height), int(x * width)].mean() > 128) << bit
  return found


def indices(path, fps: float = 25.0, **options) -> list[int]:
  """The indices of the frames that are read of a file."""
  frames = decoding.read(path, fps=fps, size=None, **options)
  return [index_of(frame) for frame in frames]


def is_upright(image) -> bool:
  """Whether the red corner is at the top left."""
  height, width = image.shape[:2]
  red, green, blue = image[height // 6, width // 8].astype(int)
  return red > 180 and green < 90 and blue < 90


def make(
  path,
  *,
  num_frames: int = 50,
  rate=25,
  codec: str = 'libx264',
  pixel_format: str = 'yuv420p',
  size=(HEIGHT, WIDTH),
  times_sec=None,
  options=None,
  container_options=None,
  display_matrix=None,
  audio: bool = False,
  noise: int = 0,
  turn: int = 0,
):
  """Encodes a file.

  `times_sec` gives frames their own (variable) times, `turn` stores them
  turned by so many quarters counter-clockwise, `noise` makes them cost bits.
  """
  height, width = size
  rng = np.random.default_rng(0)
  rate = fractions.Fraction(rate).limit_denominator(1001)
  with av.open(str(path), 'w', options=container_options or {}) as container:
    stream = container.add_stream(codec, rate=rate, options=options or {})
    stream.width, stream.height = (
      (height, width) if turn % 2 else (width, height)
    )
    stream.pix_fmt = pixel_format
    if times_sec is not None:
      stream.codec_context.time_base = fractions.Fraction(1, 1000)
    if display_matrix is not None:
      stream.set_display_matrix(display_matrix)
    sound = container.add_stream('aac', rate=16000) if audio else None
    for index in range(num_frames):
      image = picture(index, height, width)
      if noise:
        grain = rng.integers(-noise, noise + 1, image.shape)
        image = (image + grain).clip(0, 255).astype(np.uint8)
      image = np.ascontiguousarray(np.rot90(image, turn))
      frame = av.VideoFrame.from_ndarray(image, format='rgb24')
      if times_sec is None:
        frame.pts, frame.time_base = index, 1 / rate
      else:
        frame.pts = round(1000 * times_sec[index])
        frame.time_base = fractions.Fraction(1, 1000)
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    if sound is not None:
      add_silence(container, sound, num_frames / float(rate))
  return path


def make_audio(path, seconds: float = 1.0, picture: bool = False):
  """A file with sound only, or with cover art beside it."""
  with av.open(str(path), 'w') as container:
    sound = container.add_stream('aac', rate=16000)
    cover = None
    if picture:
      cover = container.add_stream('mjpeg', rate=1)
      cover.width, cover.height, cover.pix_fmt = 32, 32, 'yuvj420p'
      cover.disposition = av.stream.Disposition.attached_pic
      blank = np.zeros((32, 32, 3), np.uint8)
      frame = av.VideoFrame.from_ndarray(blank, format='rgb24')
      container.mux(cover.encode(frame))
      container.mux(cover.encode(None))
    add_silence(container, sound, seconds)
  return path


def add_silence(container, stream, seconds, from_sec=0.0):
  """Encodes silence, by default from time 0 on."""
  silence = np.zeros((1, 1024), np.float32)
  for i in range(int(seconds * 16000) // 1024):
    frame = av.AudioFrame.from_ndarray(silence, 'fltp', 'mono')
    frame.sample_rate = 16000
    frame.pts = round(16000 * from_sec) + 1024 * i
    container.mux(stream.encode(frame))
  container.mux(stream.encode(None))
