"""Which part of the training data each member leaves out.

A network is far surer of videos that it knows by heart than of any other
(docs/template_chain.md, "Honest teachers"). So each member learns from all parts
of the training data but one, and what it says of that one is what it would say
of new videos: that is what the student is taught (cross-fitting: Chernozhukov et
al., "Double/debiased machine learning", 2018; Dao et al., "Knowledge distillation
as semiparametric inference", 2021).
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cmsn_jax.data import training_data

# The part of what no member leaves out.
NONE = -1
# No member leaves out more of the instances.
_MOST_LEFT_OUT = 0.5

# (video, positions in snippets) -> the part of each.
PartsOf = Callable[[str, np.ndarray], np.ndarray]


def parts(data: training_data.TrainingData, members: int) -> PartsOf:
  """As many parts of the training videos as there are members.

  Whole videos, with about as many instances in each part. Where fewer videos
  than members have instances, or one has most of them, every video is cut in as
  many stretches of time.

  Args:
    data: its training videos.
    members: how many; of one alone no part is left out.
  """
  if members < 2:
    return lambda video_id, at: np.full(np.shape(at), NONE, np.int32)
  counts = {name: len(video.segments) for name, video in data.train.items()}
  ranked = sorted(counts, key=lambda name: (-counts[name], name))
  # There and back again: who gets the most of one round gets the least of the
  # next.
  order = [*range(members), *reversed(range(members))]
  number = {name: order[i % len(order)] for i, name in enumerate(ranked)}
  totals = np.zeros(members)
  for name, part in number.items():
    totals[part] += counts[name]
  # Of whole videos each member must be left enough.
  if totals.min() > 0 and totals.max() <= _MOST_LEFT_OUT * totals.sum():
    return lambda video_id, at: np.full(
      np.shape(at), number[video_id], np.int32
    )
  lengths = {name: data.source.num_snippets(name) for name in counts}

  def stretch(video_id, at):
    found = np.floor(np.asarray(at) * members / lengths[video_id])
    return np.clip(found, 0, members - 1).astype(np.int32)

  return stretch


def learned(
  batch: dict[str, Array], member: Int[Array, ''] | int
) -> dict[str, Array]:
  """A member's batch, of which the part that it leaves out teaches nothing.

  Args:
    batch: `part` and `known` of its snippets, `proposal_part` and `judged` of
      its proposals, [b, n] each, and anything else.
    member: its number.
  Returns:
    the batch, without its parts.
  """
  batch = dict(batch)
  part, proposal_part = batch.pop('part'), batch.pop('proposal_part')
  return batch | {
    'known': batch['known'] & (part != member),
    'judged': batch['judged'] & (proposal_part != member),
  }


def weights(
  part: Int[Array, 'b n'], members: int, honest: float | int
) -> Float[Array, 'm b n']:
  """Of what each member says, for the student; they add up to 1.

  Args:
    part: of each snippet or proposal; of `NONE` all members count alike.
    members: how many.
    honest: the one that left it out counts so many times as much as another:
      more is more honest, less is less noisy.
  """
  own = part[None] == jnp.arange(members)[:, None, None]
  found = jnp.where(own, float(honest), 1.0)
  return found / found.sum(axis=0, keepdims=True)
