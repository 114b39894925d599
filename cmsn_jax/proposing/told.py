"""What a stream has told, and what of a look at it is still to be told.

A border moves a little from one look to the next, so a proposal that ends where
two stretches of time meet may end after the first stretch in the look that tells
that one, and before the second in the next look. Every look therefore goes back
a little behind the line up to which all is told; and what to tell does not go
by place alone, but by what a proposal adds to those told (as in
`suppression.threshold_nms`): a poor one that is told nearby does not stand for
the good one, and one is told again only where its score has more than doubled.
"""

import numpy as np
from jaxtyping import Bool, Float

from cmsn_jax import segments as segments_lib
from cmsn_jax.files import proposal_files
from cmsn_jax.suppression import threshold_nms

# A proposal is told where at least this share of its score adds to those told.
_LEAST_SHARE = 0.5

NONE = proposal_files.Proposals(segments_lib.empty(), np.zeros(0))


class Told:
  """The proposals that were told, and the line behind which all are.

  Args:
    back_sec: how far behind the line an end is still looked at.
    reach_sec: how far behind the line told ones can overlap a new one: what is
      older is forgotten.

  Attributes:
    line_sec: all that ends before is told, but for `back_sec`.
    recent: those told that may overlap what comes.
  """

  def __init__(self, back_sec: float, reach_sec: float):
    self._back, self._reach = back_sec, reach_sec
    self.line_sec, self.recent = 0.0, NONE

  def fresh(
    self, found: proposal_files.Proposals, line_sec: float
  ) -> proposal_files.Proposals:
    """Takes the proposals of a look; returns those to tell, and moves the line.

    Args:
      found: seconds of the recording.
      line_sec: what ends later is not told yet.
    """
    ends = found.segments[:, 1]
    old = (ends > self.line_sec - self._back) & (ends <= line_sec)
    found = found.take(np.flatnonzero(old))
    recent = self.recent
    new = adds(found.segments, found.scores, recent.segments, recent.scores)
    found = found.take(np.flatnonzero(new))
    recent = joined([recent, found])
    near = recent.segments[:, 1] > line_sec - self._reach
    self.recent = recent.take(np.flatnonzero(near))
    self.line_sec = max(self.line_sec, line_sec)
    return found


def adds(
  segments: Float[np.ndarray, 'n 2'],
  scores: Float[np.ndarray, ' n'],
  told: Float[np.ndarray, 'k 2'],
  told_scores: Float[np.ndarray, ' k'],
) -> Bool[np.ndarray, ' n']:
  """Whether what each of the proposals told leaves over is most of one's score.

  A told one of score t that covers the share c of another's matches leaves
  (1 - c) t of it, about as much as where both were found in one look, and the
  part of its score that is above t.

  Args:
    segments: any unit.
    scores: at least 0.
    told: of the same unit.
    told_scores: at least 0.
  """
  if not len(segments) or not len(told):
    return np.ones(len(segments), bool)
  covered = threshold_nms.mean_coverage(segments_lib.tiou(segments, told))
  left = (1 - covered) * told_scores
  left += np.maximum(scores[:, None] - told_scores, 0)
  enough = left > _LEAST_SHARE * scores[:, None]
  return (enough | (covered == 0)).all(axis=1)


def joined(
  found: list[proposal_files.Proposals],
) -> proposal_files.Proposals:
  """Of several lists one, best first."""
  found = [one for one in found if len(one.scores)]
  if not found:
    return NONE
  labels = label_scores = None
  if all(one.labels is not None for one in found):
    labels = sum((tuple(one.labels) for one in found), ())
  if all(one.label_scores is not None for one in found):
    label_scores = np.concatenate([one.label_scores for one in found])
  return proposal_files.Proposals(
    np.concatenate([one.segments for one in found]),
    np.concatenate([one.scores for one in found]),
    labels,
    label_scores,
  ).best_first()
