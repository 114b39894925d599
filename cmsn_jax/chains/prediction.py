"""What every chain gives: proposals of a video, and who makes them."""

import abc
import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from cmsn_jax.chains import device
from cmsn_jax.files import proposal_files

# (video id, message) of a video that cannot be read.
OnError = Callable[[str, str], None]
# (video id, step, segments in seconds [n, 2]) that a step hands on.
Watch = Callable[[str, str, np.ndarray], None]
# What is said of labels: the likeliest of each proposal, a row a likely one,
# nothing.
LABELS = ('best', 'all', 'none')
# Labels less likely than this, but for the likeliest, get no row.
_LIKELY = 0.05


class LabelScores(NamedTuple):
  """How likely each label is in each proposal.

  Attributes:
    names: of the labels.
    probabilities: of a proposal they add up to 1, [n, labels].
  """

  names: tuple[str, ...]
  probabilities: Float[np.ndarray, 'n a']


class Prediction(NamedTuple):
  """What a chain says of one video.

  Attributes:
    proposals: best first, in seconds; with the likeliest label of each where
      there are labels.
    probabilities: of the six stages of each snippet, float32 [t, 6]; None
      where a chain has no stages.
    labels: of the proposals; None where a chain has none.
  """

  proposals: proposal_files.Proposals
  probabilities: Float[np.ndarray, 't s'] | None
  labels: LabelScores | None = None

  def take(self, indices: Int[np.ndarray, ' k']) -> 'Prediction':
    """With those of the proposals, in the order given."""
    labels = self.labels
    if labels is not None:
      labels = labels._replace(probabilities=labels.probabilities[indices])
    return self._replace(proposals=self.proposals.take(indices), labels=labels)

  def rows(
    self, labels: str = 'best', least: float = _LIKELY
  ) -> proposal_files.Proposals:
    """The proposals as a file has them.

    Args:
      labels: 'best': each with its likeliest label; 'all': a row a likely label,
        with the score times its probability, as mAP asks for it; 'none'.
      least: probability of a likely label; the likeliest is one in any case.

    Raises:
      ValueError: on another value, or 'all' of a chain without labels.
    """
    if labels not in LABELS:
      raise ValueError(f'labels must be one of {LABELS}, got {labels!r}')
    found = self.proposals
    if labels == 'none':
      return proposal_files.Proposals(found.segments, found.scores)
    if labels == 'best':
      return found
    if self.labels is None:
      raise ValueError("labels 'all': this model gives no labels")
    likely = self.labels.probabilities
    best = likely.max(axis=1, keepdims=True, initial=0)
    row, label = np.nonzero((likely >= least) | (likely == best))
    sure = likely[row, label].astype(np.float64)
    return proposal_files.Proposals(
      found.segments[row],
      found.scores[row] * sure,
      tuple(self.labels.names[k] for k in label),
      sure,
    ).best_first()


def labelled(
  proposals: proposal_files.Proposals,
  probabilities: Float[np.ndarray, 't s'] | None,
  labels: LabelScores | None,
) -> Prediction:
  """A prediction whose proposals have the likeliest of their labels."""
  if labels is not None:
    best = labels.probabilities.argmax(axis=1)
    proposals = proposal_files.Proposals(
      proposals.segments,
      proposals.scores,
      tuple(labels.names[k] for k in best),
      labels.probabilities[np.arange(len(best)), best].astype(np.float64),
    )
  return Prediction(proposals, probabilities, labels)


class Predictor(abc.ABC):
  """Proposals of any videos from trained parameters.

  Args:
    config: of the run that trained them, with what the data decide filled in.
    networks: `encode` and `score`, see `protocol.Networks`; serialized programs
      can take their place.
    params: of all that they compute with; {}: to be given by `with_params`.
  """

  _watch: Watch | None = None

  def __init__(self, config: Any, networks: Any, params: dict[str, Any]):
    self.config = config
    self.networks = networks
    self._params = device.put(params)
    self._encode = device.compiled(networks.encode)
    self._score = device.compiled(networks.score)

  @property
  def params(self) -> dict[str, Any]:
    """The parameters it predicts with."""
    return self._params

  @property
  def label_names(self) -> tuple[str, ...]:
    """The labels that proposals are given; none, unless a chain says so."""
    return ()

  def with_params(self, params: dict[str, Any]) -> 'Predictor':
    """The same predictor, compiled programs included, on other parameters."""
    other = copy.copy(self)
    other._params = device.put(params)
    return other

  def watched(self, watch: Watch) -> 'Predictor':
    """The same predictor, which tells what its steps hand on.

    Args:
      watch: called with the video's id, the step ('candidates', 'scored') and
        segments in seconds; several times a step where it works in pieces.
    """
    other = copy.copy(self)
    other._watch = watch
    return other

  def ceilings(
    self, source: Any, video_id: str, instances: Float[np.ndarray, 'g 2']
  ) -> Iterator[tuple[str, Float[np.ndarray, 'n 2']]]:
    """Yields what the chain could propose at best, to find where it loses.

    ('durations', segments in seconds) of all that it can propose whatever the
    stages, and ('perfect_stages', ...) of its candidates if the stages were the
    true ones; both in pieces. Nothing, where a chain has no such limits.

    Args:
      source: snippets of the videos.
      video_id: which.
      instances: the ground truth, seconds.
    """
    del source, video_id, instances
    yield from ()

  @abc.abstractmethod
  def propose(
    self,
    source: Any,
    video_ids: Iterable[str],
    on_error: OnError | None = None,
  ) -> Iterator[tuple[str, Prediction]]:
    """Yields (video id, prediction) in the order given.

    Args:
      source: snippets of the videos, see `sources.Source`.
      video_ids: which.
      on_error: called with (video id, message) of a video that cannot be
        read, which is then left out; None: the error is raised.

    Raises:
      ValueError, OSError: of a video that cannot be read, without `on_error`.
    """
