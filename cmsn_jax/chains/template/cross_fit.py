"""Which part of the training videos each member leaves out.

A network is far surer of videos that it knows by heart than of any other
(docs/template_chain.md, "Honest teachers"). So each member learns from all parts
of the training videos but one, and what it says of that one is what it would say
of new videos: that is what the student is taught (cross-fitting: Chernozhukov et
al., "Double/debiased machine learning", 2018; Dao et al., "Knowledge distillation
as semiparametric inference", 2021).
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from cmsn_jax.data import training_data
from cmsn_jax.data import windows as windows_lib

# The part of windows that no member leaves out.
NONE = -1
# Window -> its part.
PartOf = Callable[[windows_lib.Window], int]


def parts(data: training_data.TrainingData, members: int) -> PartOf:
  """As many parts of the training videos as there are members.

  Whole videos, with about as many instances in each part; of fewer videos than
  members, each one is cut in as many stretches of time.

  Args:
    data: its training videos.
    members: how many; of one alone no part is left out.
  """
  if members < 2:
    return lambda window: NONE
  totals = {name: data.source.num_snippets(name) for name in data.train}
  if len(totals) < members:
    return lambda window: min(
      members - 1,
      int(
        (window.start + window.length / 2) * members / totals[window.video_id]
      ),
    )
  counts = {name: len(data.train[name].segments) for name in totals}
  ranked = sorted(totals, key=lambda name: (-counts[name], name))
  # There and back again: who gets the most of one round gets the least of the
  # next.
  order = [*range(members), *reversed(range(members))]
  number = {name: order[i % len(order)] for i, name in enumerate(ranked)}
  return lambda window: number[window.video_id]


def learned(part: Int[Array, 'm b'], known: Bool[Array, 'm b t']) -> Array:
  """What each member learns from of its windows: nothing of its own part.

  Args:
    part: of the windows of each member.
    known: snippets that teach something.
  """
  members = jnp.arange(len(part))[:, None]
  return known & (part != members)[:, :, None]


def weights(
  part: Int[Array, ' b'], members: int, honest: float | int
) -> Float[Array, 'm b']:
  """Of what each member says of windows, for the student; they add up to 1.

  Args:
    part: of each window; of `NONE` all members count alike.
    members: how many.
    honest: the one that left a window out counts so many times as much as another:
      more is more honest, less is less noisy.
  """
  own = part[None] == jnp.arange(members)[:, None]
  found = jnp.where(own, float(honest), 1.0)
  return found / found.sum(axis=0, keepdims=True)
