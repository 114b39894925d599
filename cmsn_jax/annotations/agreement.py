"""Two raters of the same recordings: how far they agree, and what both mean.

How exactly borders can be known at all is the ceiling of every model that
learns from them.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from cmsn_jax import segments as segments_lib
from cmsn_jax.annotations import activitynet

# Overlaps below this tIoU are no pair: two events that touch.
LEAST_TIOU = 0.1
MERGES = ('union', 'both', 'mean')


class Pairs(NamedTuple):
  """Instances of two raters that are one event.

  Attributes:
    first: indices into the first rater's instances, [p].
    second: indices into the second one's, [p].
    tiou: of each pair, [p].
  """

  first: Int[np.ndarray, ' p']
  second: Int[np.ndarray, ' p']
  tiou: Float[np.ndarray, ' p']


@dataclasses.dataclass(frozen=True)
class Agreement:
  """How far two raters agree, over all recordings that both have rated.

  Attributes:
    recordings: how many.
    instances: (of the first, of the second).
    pairs: instances that are one event to both.
    matched: tIoU -> share of all instances of both that are in a pair of at
      least this tIoU (the F1 score of one against the other).
    label_agreement: share of the pairs with the same label; NaN without pairs.
    kappa: Cohen's, of the label at each moment, every second counting alike;
      1 where nobody marks anything.
    border_sec: median distance of the (starts, ends) of the pairs; NaN without.
  """

  recordings: int
  instances: tuple[int, int]
  pairs: int
  matched: dict[float, float]
  label_agreement: float
  kappa: float
  border_sec: tuple[float, float]


def pairs(
  first: Float[np.ndarray, 'n 2'],
  second: Float[np.ndarray, 'm 2'],
  least: float = LEAST_TIOU,
) -> Pairs:
  """One-to-one pairs of instances, the best-overlapping first.

  Args:
    first: in seconds.
    second: in seconds.
    least: tIoU that a pair has at least.
  """
  tiou = segments_lib.tiou(first, second)
  rows, columns = np.nonzero(tiou >= least)
  order = np.lexsort((columns, rows, -tiou[rows, columns]))
  taken = np.zeros(len(first), bool), np.zeros(len(second), bool)
  found = []
  for k in order:
    row, column = rows[k], columns[k]
    if not (taken[0][row] or taken[1][column]):
      taken[0][row] = taken[1][column] = True
      found.append((row, column))
  index = np.array(sorted(found), int).reshape(-1, 2)
  return Pairs(index[:, 0], index[:, 1], tiou[index[:, 0], index[:, 1]])


def compare(
  first: Mapping[str, activitynet.Video],
  second: Mapping[str, activitynet.Video],
) -> Agreement:
  """Agreement over what both have looked at, in the recordings that both have.

  Raises:
    ValueError: if they share no recording.
  """
  names = _shared(first, second)
  tiou, same, borders, table = [], [], [], {}
  counts = np.zeros(2, int)
  for name in names:
    a, b = looked_at(first[name], second[name])
    counts += len(a.segments), len(b.segments)
    found = pairs(a.segments, b.segments)
    tiou.append(found.tiou)
    same += [
      a.labels[i] == b.labels[j] for i, j in zip(found.first, found.second)
    ]
    borders.append(np.abs(a.segments[found.first] - b.segments[found.second]))
    _add_moments(table, a, b)
  tiou, borders = np.concatenate(tiou), np.concatenate(borders)
  total = max(counts.sum(), 1)
  start, end = np.median(borders, axis=0) if len(borders) else (np.nan, np.nan)
  return Agreement(
    recordings=len(names),
    instances=tuple(counts.tolist()),
    pairs=len(tiou),
    matched={
      threshold: float(2 * np.sum(tiou >= threshold - 1e-9) / total)
      for threshold in (0.3, 0.5, 0.7, 0.9)
    },
    label_agreement=float(np.mean(same)) if same else float('nan'),
    kappa=_kappa(table),
    border_sec=(float(start), float(end)),
  )


def merge(
  first: activitynet.Annotations, second: activitynet.Annotations, how: str
) -> activitynet.Annotations:
  """One set of annotations from two.

  Args:
    first: whose labels count where a pair has two.
    second: of the other rater.
    how: of a pair 'union' takes the span that either marked, 'both' the span
      that both marked, 'mean' the mean borders. What only one of them marked is
      kept by 'union' and left out by the others, unless the other has not
      looked there; likewise recordings that only one has rated.

  Raises:
    ValueError: on another name.
  """
  if how not in MERGES:
    raise ValueError(f'merge must be one of {", ".join(MERGES)}, got {how!r}')
  videos = {}
  for name in {**first.videos, **second.videos}:
    a, b = first.videos.get(name), second.videos.get(name)
    if a is None or b is None:
      if how == 'union':
        videos[name] = a or b
      continue
    videos[name] = _merged(a, b, how)
  return dataclasses.replace(first, videos=videos)


def _merged(a, b, how):
  found = pairs(a.segments, b.segments)
  left, right = a.segments[found.first], b.segments[found.second]
  low = np.minimum(left[:, 0], right[:, 0]), np.minimum(left[:, 1], right[:, 1])
  high = (
    np.maximum(left[:, 0], right[:, 0]),
    np.maximum(left[:, 1], right[:, 1]),
  )
  spans = {
    'union': np.stack([low[0], high[1]], axis=1),
    'both': np.stack([high[0], low[1]], axis=1),
    'mean': (left + right) / 2,
  }[how]
  rows = [(*span, a.labels[i]) for span, i in zip(spans, found.first)]
  for video, used, other in ((a, found.first, b), (b, found.second, a)):
    alone = np.setdiff1d(np.arange(len(video.segments)), used)
    if how != 'union':
      unseen = segments_lib.mostly_within(video.segments, other.ignore)
      alone = alone[unseen[alone]]
    rows += [(*video.segments[k], video.labels[k]) for k in alone]
  rows.sort()
  return dataclasses.replace(
    a,
    segments=np.array([row[:2] for row in rows], np.float64).reshape(-1, 2),
    labels=tuple(row[2] for row in rows),
    ignore=_seen_by_none(a, b),
  )


def _seen_by_none(a, b):
  """Spans that neither has looked at."""
  end = max(a.duration_sec, b.duration_sec)
  whole = np.array([[0.0, end]])
  seen = [segments_lib.without(whole, video.ignore) for video in (a, b)]
  return segments_lib.without(whole, np.concatenate(seen))


def _shared(first, second):
  names = [name for name in first if name in second]
  if not names:
    raise ValueError(
      f'the two raters share no recording: one has {next(iter(first), None)!r}, '
      f'the other {next(iter(second), None)!r}'
    )
  return names


def looked_at(
  first: activitynet.Video, second: activitynet.Video
) -> tuple[activitynet.Video, activitynet.Video]:
  """Both with the spans that either ignores, and the instances left then."""
  if not len(first.ignore) + len(second.ignore):
    return first, second
  ignore = segments_lib.union(np.concatenate([first.ignore, second.ignore]))
  return tuple(
    dataclasses.replace(one, ignore=ignore).counted() for one in (first, second)
  )


def _add_moments(table, a, b):
  """Adds to {(label of a, label of b): seconds}, exactly, from the borders."""
  end = max(a.duration_sec, b.duration_sec)
  edges = np.unique(
    np.clip(
      np.concatenate(
        [[0, end], *(x.ravel() for x in (a.segments, b.segments, a.ignore))]
      ),
      0,
      end,
    )
  )
  steps = np.stack([edges[:-1], edges[1:]], axis=1)
  steps = steps[~segments_lib.mostly_within(steps, a.ignore)]
  middles = steps.mean(axis=1)
  for labels in zip(
    _at(a, middles), _at(b, middles), segments_lib.durations(steps)
  ):
    key = labels[:2]
    table[key] = table.get(key, 0.0) + labels[2]


def _at(video, moments):
  """The label of each moment: of several at once all, of none ''."""
  found = [set() for _ in moments]
  for (start, end), label in zip(video.segments, video.labels):
    low, high = np.searchsorted(moments, [start, end])
    for one in found[low:high]:
      one.add(label)
  return [' + '.join(sorted(labels)) for labels in found]


def _kappa(table):
  total = sum(table.values())
  if not total:
    return 1.0
  same = sum(sec for (a, b), sec in table.items() if a == b) / total
  sums = {}, {}
  for key, sec in table.items():
    for side in (0, 1):
      sums[side][key[side]] = sums[side].get(key[side], 0.0) + sec / total
  chance = sum(
    share * sums[1].get(label, 0) for label, share in sums[0].items()
  )
  return 1.0 if chance >= 1 - 1e-12 else float((same - chance) / (1 - chance))
