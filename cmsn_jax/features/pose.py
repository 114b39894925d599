"""Positions of body parts → features that do not depend on where the animal is.

Presets, each a block of columns:

- `egocentric`: parts relative to the animal's centre, in body sizes; with an
  axis (two parts) turned so that it points to the right.
- `distances`: between all pairs of parts, in body sizes.
- `velocity`: speed of the centre and of each part relative to it, body sizes a
  second, and with an axis how fast it turns, radians a second.
- `social`: of each pair of animals, distance of the centres and its change a
  second; with an axis the angle under which the first sees the second.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from cmsn_jax.files import pose_files

PRESETS = ('egocentric', 'distances', 'velocity', 'social')


class Made(NamedTuple):
  """Features of one recording.

  Attributes:
    features: [t, d], float32, finite.
    names: of the columns.
    masked: share of points whose likelihood is too low, or that are not there.
    longest_gap_sec: the longest stretch over which a part was filled in.
  """

  features: Float[np.ndarray, 't d']
  names: tuple[str, ...]
  masked: float
  longest_gap_sec: float


def make(
  pose: pose_files.Pose,
  fps: float | int,
  *,
  presets: tuple[str, ...] = PRESETS,
  min_likelihood: float = 0.6,
  axis: tuple[str, str] | None = None,
) -> Made:
  """Features of one recording's positions.

  Points of low likelihood are masked and filled in: linearly over time between
  the frames where the part is seen, before and after them its nearest place.

  Args:
    pose: the positions.
    fps: frames a second.
    presets: which blocks, of `PRESETS`, in their order.
    min_likelihood: points below it are masked.
    axis: two parts, from the rear to the front of the body.
  Raises:
    ValueError: if a part is never seen, or a name is none of them.
  """
  unknown = [name for name in presets if name not in PRESETS]
  if unknown or not presets:
    raise ValueError(
      f'presets must be of {", ".join(PRESETS)}, got {", ".join(presets)}'
    )
  ends = _ends(pose, axis)
  seen = (pose.likelihood >= min_likelihood) & np.isfinite(pose.points).all(-1)
  points, kept, longest = fill(pose.points, seen)
  parts = [pose.parts[k] for k in kept]
  if ends is not None:
    missing = [pose.parts[k] for k in ends if k not in kept]
    if missing:
      raise ValueError(f'the axis part {missing[0]} is never seen')
    ends = tuple(kept.index(k) for k in ends)
  centres = points.mean(axis=2)  # [t, a, 2]
  relative = points - centres[:, :, None]
  # One size for the whole recording, so that stretching is seen.
  sizes = np.sqrt((relative**2).sum(-1).mean(axis=2))
  size = float(np.median(sizes)) or 1.0
  relative, centres = relative / size, centres / size
  headings = _headings(relative, ends)
  blocks = {
    'egocentric': _egocentric,
    'distances': _distances,
    'velocity': _velocity,
    'social': _social,
  }
  columns, names = [], []
  for preset in presets:
    values, told = blocks[preset](
      relative, centres, headings, float(fps), parts
    )
    columns.append(values.reshape(len(points), -1))
    names += [f'{preset}: {name}' for name in told]
  features = np.concatenate(columns, axis=1).astype(np.float32)
  if not features.shape[1]:
    raise ValueError(f'{", ".join(presets)} need more animals or body parts')
  return Made(features, tuple(names), float(1 - seen.mean()), longest / fps)


def _ends(pose, axis) -> tuple[int, int] | None:
  if axis is None:
    return None
  for name in axis:
    if name not in pose.parts:
      raise ValueError(
        f'no part {name!r}; there are {", ".join(pose.parts[:20])}'
      )
  return pose.parts.index(axis[0]), pose.parts.index(axis[1])


def fill(
  points: Float[np.ndarray, 't a n 2'], seen: Bool[np.ndarray, 't a n']
) -> tuple[Float[np.ndarray, 't a m 2'], list[int], int]:
  """Gaps filled in over time; parts that some animal never shows left out.

  Returns:
    the points of the parts that are kept, their indices, and the longest gap
    in frames.
  Raises:
    ValueError: if no part is left.
  """
  kept = np.flatnonzero(seen.any(axis=0).all(axis=0)).tolist()
  if not kept:
    raise ValueError(
      'no body part is seen with enough likelihood in any frame of every '
      'animal; lower --min_likelihood, or check the tracking'
    )
  filled, longest = points[:, :, kept].copy(), 0
  frames = np.arange(len(points))
  for a, (m, n) in itertools.product(range(points.shape[1]), enumerate(kept)):
    at = np.flatnonzero(seen[:, a, n])
    for c in range(2):
      filled[:, a, m, c] = np.interp(frames, at, points[at, a, n, c])
    edges = np.concatenate([[-1], at, [len(points)]])
    longest = max(longest, int(np.diff(edges).max()) - 1)
  return filled, kept, longest


def _headings(relative, ends):
  """Angles of the body axes, [t, a]; None without an axis."""
  if ends is None:
    return None
  x, y = np.moveaxis(relative[:, :, ends[1]] - relative[:, :, ends[0]], -1, 0)
  return np.unwrap(np.arctan2(y, x), axis=0)


def _named(parts, relative, what):
  animals = range(relative.shape[1])
  return [f'animal {a} {name}' for a in animals for name in what(parts)]


def _egocentric(relative, centres, headings, fps, parts):
  del centres, fps
  if relative.shape[2] < 2:  # A lone part is its own centre.
    return relative[:, :, :0], []
  if headings is not None:
    cos, sin = np.cos(headings)[..., None], np.sin(headings)[..., None]
    x, y = relative[..., 0], relative[..., 1]
    relative = np.stack([cos * x + sin * y, cos * y - sin * x], axis=-1)
  names = _named(
    parts, relative, lambda parts: [f'{p} {c}' for p in parts for c in 'xy']
  )
  return relative, names


def _distances(relative, centres, headings, fps, parts):
  del centres, headings, fps
  pairs = list(itertools.combinations(range(relative.shape[2]), 2))
  first, second = (np.array([p[k] for p in pairs], int) for k in (0, 1))
  apart = relative[:, :, first] - relative[:, :, second]
  names = _named(
    parts, relative, lambda p: [f'{p[i]} to {p[j]}' for i, j in pairs]
  )
  return np.sqrt((apart**2).sum(-1)), names


def _rate(values, fps):
  """Change a second, by differences to both sides."""
  if len(values) < 2:
    return np.zeros_like(values)
  return np.gradient(values, axis=0) * fps


def _velocity(relative, centres, headings, fps, parts):
  blocks = [np.linalg.norm(_rate(centres, fps), axis=-1)[:, :, None]]
  names = ['centre']
  if len(parts) > 1:
    blocks.append(np.linalg.norm(_rate(relative, fps), axis=-1))
    names += parts
  if headings is not None:
    blocks.append(_rate(headings, fps)[:, :, None])
    names.append('turning')
  return (
    np.concatenate(blocks, axis=2),
    _named(parts, relative, lambda unused: names),
  )


def _social(relative, centres, headings, fps, parts):
  del relative, parts
  columns, names = [], []
  for a, b in itertools.permutations(range(centres.shape[1]), 2):
    apart = centres[:, b] - centres[:, a]
    if a < b:
      distance = np.linalg.norm(apart, axis=1)
      columns += [distance, _rate(distance, fps)]
      names += [f'animals {a} {b} distance', f'animals {a} {b} approach']
    if headings is not None:
      angle = np.arctan2(apart[:, 1], apart[:, 0]) - headings[:, a]
      columns += [np.cos(angle), np.sin(angle)]
      names += [f'animal {a} sees {b} {f}' for f in ('ahead', 'aside')]
  empty = np.zeros((len(centres), 0))
  return np.stack(columns, axis=1) if columns else empty, names
