"""How much of the recall each step on the way to the proposals loses.

Of every step the segments that it hands on are held against the ground truth:
an instance is within reach at a tIoU if any of them has it, as if whatever comes
after ordered them best. What is out of reach here no later step that only
selects can bring back, so the difference between two steps is what the latter
loses; one that moves borders may gain.

  durations        every start and duration of the chain's grid
  perfect_stages   the candidates that the true stages would give
  candidates       those that the predicted stages give
  scored           what the evaluator hands on, borders mended
  kept             after the NMS, all of them
  top_200, ...     a video's best so many
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from cmsn_jax import segments as segments_lib
from cmsn_jax.evaluation import overlaps

DURATIONS, PERFECT = 'durations', 'perfect_stages'
CANDIDATES, SCORED, KEPT = 'candidates', 'scored', 'kept'
_ORDER = (DURATIONS, PERFECT, CANDIDATES, SCORED, KEPT)
# What is lost on the way to a step is lost by this part of the chain.
_LOST_BY = {
  PERFECT: 'candidates',
  CANDIDATES: 'stages',
  SCORED: 'scores',
  KEPT: 'NMS',
}


@dataclasses.dataclass(frozen=True)
class Step:
  """What is within reach after one step.

  Attributes:
    name: see the module; 'top_100' and the like.
    lost_by: the part that the difference to the step before is put down to;
      '' of the first.
    per_video: segments, on average.
    recall: share of the instances within reach at each of the ten tIoUs.
  """

  name: str
  lost_by: str
  per_video: float
  recall: tuple[float, ...]

  @property
  def average(self) -> float:
    """Mean over the ten tIoUs."""
    return float(np.mean(self.recall))


class StepRecall:
  """Collects what each step hands on, video by video.

  Args:
    instances: ground truth by video id, seconds `[g, 2]`, of every video.
  """

  def __init__(self, instances: Mapping[str, np.ndarray]):
    self._instances = {
      video_id: segments_lib.check(spans, f'ground truth of {video_id!r}')
      for video_id, spans in instances.items()
    }
    self._best: dict[str, dict[str, np.ndarray]] = {}
    self._counts: dict[str, int] = {}

  def note(
    self, video_id: str, step: str, spans: Float[np.ndarray, 'n 2']
  ) -> None:
    """Adds segments that a step hands on; a step may do so in pieces.

    Args:
      video_id: of their video; another one's are not counted.
      step: its name.
      spans: in seconds.
    """
    if video_id not in self._instances:
      return
    true = self._instances[video_id]
    found = overlaps.best_tiou(true, spans)
    best = self._best.setdefault(step, {})
    best[video_id] = np.maximum(best.get(video_id, 0.0), found)
    self._counts[step] = self._counts.get(step, 0) + len(spans)

  def note_ranked(
    self,
    video_id: str,
    spans: Float[np.ndarray, 'n 2'],
    tops: Sequence[int] = (200, 100, 50, 10),
  ) -> None:
    """Adds a video's proposals, best first: all of them and the best so many."""
    self.note(video_id, KEPT, spans)
    for top in tops:
      self.note(video_id, f'top_{top}', spans[:top])

  def join(self, other: 'StepRecall') -> None:
    """Adds what another one has noted of the same ground truth."""
    for step, best in other._best.items():
      own = self._best.setdefault(step, {})
      for video_id, tiou in best.items():
        own[video_id] = np.maximum(own.get(video_id, 0.0), tiou)
    for step, count in other._counts.items():
      self._counts[step] = self._counts.get(step, 0) + count

  def steps(self) -> list[Step]:
    """The steps that were noted, in the order of the flow.

    Raises:
      ValueError: if there is no instance at all.
    """
    total = sum(map(len, self._instances.values()))
    if not total:
      raise ValueError(
        f'the ground truth of {len(self._instances)} videos has no segments: no '
        'recall can be lost'
      )
    tops = sorted(
      (name for name in self._best if name not in _ORDER),
      key=lambda name: -int(name.removeprefix('top_')),
    )
    names = [name for name in _ORDER if name in self._best] + tops
    return [
      Step(
        name,
        _LOST_BY.get(name, 'order') if number else '',
        self._counts[name] / len(self._instances),
        tuple(self._recall(name, total).tolist()),
      )
      for number, name in enumerate(names)
    ]

  def _recall(self, name, total) -> Float64[np.ndarray, ' k']:
    best = np.concatenate([np.zeros(0), *self._best[name].values()])
    # A video without a note of the step has nothing within reach.
    return (best[:, None] >= segments_lib.TIOU_THRESHOLDS).sum(axis=0) / total


def to_json(steps: Sequence[Step]) -> dict[str, Any]:
  """Plain numbers and texts; what each step loses against the one before."""
  rows = []
  for number, step in enumerate(steps):
    lost = steps[number - 1].average - step.average if number else None
    rows.append(
      {**dataclasses.asdict(step), 'average': step.average, 'lost': lost}
    )
  return {
    'tiou_thresholds': segments_lib.TIOU_THRESHOLDS.round(10).tolist(),
    'steps': rows,
  }


def table(steps: Sequence[Step]) -> str:
  """The same for reading, one line a step."""
  rows = [('step', 'a video', '.5', '.7', '.9', 'mean', 'lost', 'by')]
  for number, step in enumerate(steps):
    lost = ''
    if number:
      lost = f'{step.average - steps[number - 1].average:+.3f}'
    at = [f'{step.recall[k]:.3f}' for k in (0, 4, 8)]
    rows.append(
      (step.name, f'{step.per_video:,.0f}', *at, f'{step.average:.3f}', lost,
       step.lost_by)
    )  # fmt: skip
  widths = [max(map(len, column)) for column in zip(*rows)]
  return '\n'.join(
    '  '.join(
      text.ljust(width) if k in (0, 7) else text.rjust(width)
      for k, (text, width) in enumerate(zip(row, widths))
    ).rstrip()
    for row in rows
  )
