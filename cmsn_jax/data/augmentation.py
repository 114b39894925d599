"""Random changes of training features: pure functions of a generator.

Few videos, and new people, animals or sensors at test time: windows are
stretched in time, and their channels scaled, shifted, drowned in noise or
silenced. Features are expected to be standardised.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32

from cmsn_jax.data import sources


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """How much; every default is "not at all".

  Attributes:
    time_stretch: the window plays at exp(u) of its duration, u uniform within
      plus or minus this.
    scale: channels are multiplied by exp(e) and shifted by e', both normal
      with this deviation, constant over the window.
    noise: deviation of normal noise on every value.
    channel_drop: chance of each channel to be 0 throughout the window.
  """

  time_stretch: float = 0.0
  scale: float = 0.0
  noise: float = 0.0
  channel_drop: float = 0.0

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if not 0 <= value < (1 if field.name == 'channel_drop' else 3):
        raise ValueError(
          f'{field.name} must be at least 0 and below '
          f'{1 if field.name == "channel_drop" else 3}, got {value}'
        )


def stretch_factor(
  augmentation: Augmentation, rng: np.random.Generator
) -> float:
  """Draws how many snippets of the window one snippet of the video becomes."""
  most = augmentation.time_stretch
  return float(np.exp(rng.uniform(-most, most)))


def resample(
  features: Float[np.ndarray, 't d'],
  first: float | int,
  factor: float | int,
  length: int,
) -> Float32[np.ndarray, 'u d']:
  """Snippets of a window that plays `factor` times as long.

  Snippet i of the window is centred on `first + (i + .5) / factor` of the
  features' own snippets; values between two centres are interpolated.

  Args:
    features: [t, d], t at least 1.
    first: where the window begins, in the features' snippets.
    factor: above 0; 2 is half as fast.
    length: the most snippets to return.
  Returns:
    as many snippets as have their centre within the features, up to `length`.
  """
  place = sources.centres(np.arange(length), factor, first)
  place = place[place <= len(features) - 0.5]
  return sources.between(features, place)


def perturb(
  features: Float[np.ndarray, 't d'],
  augmentation: Augmentation,
  rng: np.random.Generator,
) -> Float32[np.ndarray, 't d']:
  """Scale, shift, noise and channel drop; the input is left as it is."""
  out = np.array(features, np.float32)
  t, d = out.shape
  if augmentation.scale:
    out *= np.exp(_normal(rng, (1, d), augmentation.scale))
    out += _normal(rng, (1, d), augmentation.scale)
  if augmentation.noise:
    out += _normal(rng, (t, d), augmentation.noise)
  if augmentation.channel_drop:
    out *= rng.random((1, d), np.float32) >= augmentation.channel_drop
  return out


def _normal(rng, shape, deviation):
  return rng.standard_normal(shape, np.float32) * np.float32(deviation)
