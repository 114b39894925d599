"""The most probable stage sequence that the stage grammar allows.

An arg-max a snippet (what Sec. 3.2 reads) may jump from Ready to Follow and
back; each such jump breaks a run or misplaces its ends. Sec. 3.1 gives the
order: Background, Ready, Start, Confirm, End, Follow, and then Background or the
next instance's Ready. Viterbi's algorithm finds the best sequence in that order.
"""

import numpy as np
from jaxtyping import Float, Int32

from cmsn_jax import stage_names

DECODERS = ('argmax', 'grammar')

# Stages that may follow each one, besides itself. Ready or Follow may be
# missing where instances touch.
_NEXT = (
  (stage_names.READY, stage_names.START),
  (stage_names.START,),
  (stage_names.CONFIRM,),
  (stage_names.END,),
  (stage_names.FOLLOW, stage_names.READY, stage_names.START),
  (stage_names.BACKGROUND, stage_names.READY, stage_names.START),
)
_BEFORE = tuple(
  tuple(a for a in range(stage_names.COUNT) if a == b or b in _NEXT[a])
  for b in range(stage_names.COUNT)
)
_LEAST = 1e-6


def decode(
  probabilities: Float[np.ndarray, 't stages'], decoder: str
) -> Int32[np.ndarray, ' t']:
  """Stage of each snippet.

  Args:
    probabilities: of the stages, `[t, 6]`.
    decoder: 'argmax': of each snippet alone; 'grammar': `viterbi`.
  Returns:
    labels `[t]`, see `stage_names.NAMES`.
  Raises:
    ValueError: on an unknown decoder.
  """
  if decoder == 'argmax':
    return probabilities.argmax(axis=1).astype(np.int32)
  if decoder == 'grammar':
    return viterbi(probabilities)
  raise ValueError(f'decoder must be one of {DECODERS}, got {decoder!r}')


def viterbi(
  probabilities: Float[np.ndarray, 't stages'],
) -> Int32[np.ndarray, ' t']:
  """The allowed sequence of the largest product of probabilities.

  A sequence may begin and end in any stage. Time and memory are linear in t.

  Args:
    probabilities: of the stages, `[t, 6]`.
  Returns:
    labels `[t]`; of equal products one that is the same on every run.
  """
  total = len(probabilities)
  labels = np.zeros(total, np.int32)
  if not total:
    return labels
  rows = np.log(np.maximum(probabilities, _LEAST)).tolist()
  best = rows[0]
  sources = []
  # Six states and 15 moves: plain numbers are faster than arrays this small.
  for row in rows[1:]:
    chosen = [max(before, key=best.__getitem__) for before in _BEFORE]
    best = [best[source] + own for source, own in zip(chosen, row)]
    sources.append(chosen)
  stage = max(range(stage_names.COUNT), key=best.__getitem__)
  labels[-1] = stage
  for t in range(total - 2, -1, -1):
    stage = sources[t][stage]
    labels[t] = stage
  return labels
