"""Generated feature sequences with the stages of real untrimmed video.

A handful of hidden quantities (how near an actor is, whether it comes or
leaves, how it moves) is mixed into `dim` features at random and buried in
noise that drifts. No single snippet tells the stages apart: an approach looks
the same whether an action follows or not.
"""

import os
import pathlib

import numpy as np
from jaxtyping import Float

from cmsn_jax.data.synthetic import script
from cmsn_jax.files import replacing

_FREQUENCIES_HZ = {'circle': 0.6, 'shake': 1.5, 'pump': 1.0}
_NUM_HIDDEN = 8


def generate(
  folder: str | os.PathLike,
  *,
  num_videos: int = 30,
  duration_sec: float = 120.0,
  seed: int = 0,
  feature_fps: float = 5.0,
  dim: int = 16,
  noise: float = 0.8,
) -> pathlib.Path:
  """Writes `features/<id>.npy` and `annotations.json` into a folder.

  The same arguments give the same files, byte for byte.

  Args:
    folder: where to; made if absent.
    num_videos: at least 3; three fifths are training, a fifth each validation
      and testing.
    duration_sec: mean length of a video; they vary by a quarter.
    seed: of everything.
    feature_fps: snippets a second.
    dim: features a snippet.
    noise: standard deviation of the drifting noise on every feature.

  Returns:
    The path of the annotations; features are in `features` beside it.
  """
  script.check_duration(duration_sec)
  folder = pathlib.Path(folder)
  (folder / 'features').mkdir(parents=True, exist_ok=True)
  mixing = np.random.default_rng([seed, 0]).normal(size=(_NUM_HIDDEN, dim))
  scripts = {}
  for number, subset in enumerate(script.subsets(num_videos)):
    rng = np.random.default_rng([seed, 1, number])
    num_snippets = round(duration_sec * rng.uniform(0.75, 1.25) * feature_fps)
    length_sec = num_snippets / feature_fps
    events = script.write(length_sec, rng)
    times = (np.arange(num_snippets) + 0.5) / feature_fps
    features = hidden(events, times, rng) @ mixing
    features += rng.normal(size=dim)  # each camera's own look
    features += noise * drifting_noise(features.shape, rng)
    video_id = f'video_{number:03d}'
    target = folder / 'features' / f'{video_id}.npy'
    with replacing.file(target, 'wb') as file:
      np.save(file, features.astype(np.float32))
    scripts[video_id] = subset, length_sec, events
  path = folder / 'annotations.json'
  script.write_annotations(path, scripts, feature_fps=feature_fps)
  return path


def hidden(
  events: list[script.Event],
  times_sec: Float[np.ndarray, ' t'],
  rng: np.random.Generator,
) -> Float[np.ndarray, 't d']:
  """The hidden quantities at each time.

  Columns: nearness, coming, leaving, onset, activity, oscillation (cosine and
  sine), offset.
  """
  out = np.zeros((len(times_sec), _NUM_HIDDEN))
  for event in events:
    out += rng.uniform(0.6, 1.4) * _event_hidden(event, times_sec, rng)
  return out


def _event_hidden(event, times_sec, rng):
  coming = (times_sec - event.start_sec) / event.approach_sec + 1  # 0 .. 1
  inside = (times_sec - event.start_sec) / (event.end_sec - event.start_sec)
  leaving = (times_sec - event.end_sec) / event.withdraw_sec  # 0 .. 1
  is_coming = (0 <= coming) & (coming < 1)
  is_inside = (0 <= inside) & (inside < 1)
  is_leaving = (0 <= leaving) & (leaving < 1)
  near = np.where(is_coming, coming, 0) + np.where(is_leaving, 1 - leaving, 0)
  out = np.zeros((len(times_sec), _NUM_HIDDEN))
  if event.kind != 'twitch':
    out[:, 0] = near + is_inside
    out[:, 1] = is_coming * np.sin(np.pi * np.clip(coming, 0, 1))
    out[:, 2] = is_leaving * np.sin(np.pi * np.clip(leaving, 0, 1))
  if event.is_action or event.kind == 'twitch':
    frequency = _FREQUENCIES_HZ.get(event.kind, 1.0) * event.speed
    phase = 2 * np.pi * (frequency * times_sec + rng.random())
    out[:, 3] = 0.5 * is_inside * np.exp(-3 * np.clip(inside, 0, 1))
    out[:, 4] = 0.2 * is_inside * event.speed
    out[:, 5] = is_inside * np.cos(phase)
    out[:, 6] = is_inside * np.sin(phase)
    out[:, 7] = 0.5 * is_inside * np.exp(-3 * np.clip(1 - inside, 0, 1))
  return out


def drifting_noise(
  shape: tuple[int, int], rng: np.random.Generator, memory: float = 0.8
) -> Float[np.ndarray, 't d']:
  """Unit-variance noise that keeps `memory` of itself from step to step."""
  fresh = rng.normal(size=shape)
  out = np.empty(shape)
  out[:1] = fresh[:1]
  for i in range(1, shape[0]):
    out[i] = memory * out[i - 1] + np.sqrt(1 - memory**2) * fresh[i]
  return out
