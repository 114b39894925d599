"""How much of the evaluator's certainty to believe, by duration.

Its training proposals are of videos that it knows by heart, and of short ones
it has seen few snippets: on videos that it has not seen it is too sure of all,
and far more so of the short (docs/template_chain.md, "Too sure").
"""

import numpy as np
from jaxtyping import Float, Float64

from cmsn_jax import segments as segments_lib


def doubted(
  probabilities: Float[np.ndarray, 'n thresholds'],
  segments: Float[np.ndarray, 'n 2'],
  temper: float | int = 1.0,
  snippets: float | int = 0.0,
) -> Float64[np.ndarray, 'n thresholds']:
  """Probabilities to the power `temper + snippets / duration`.

  Near 1 little changes, so that short proposals can still be the best ones.

  Args:
    probabilities: P(tIoU >= t) of each proposal, within [0, 1].
    segments: in snippets, of positive duration.
    temper: of long proposals; below 1 the tail of the list becomes more varied.
    snippets: at this duration the power is one more; 0: durations are alike.
  """
  power = temper + snippets / segments_lib.durations(segments)
  return np.asarray(probabilities, np.float64) ** power[:, None]
