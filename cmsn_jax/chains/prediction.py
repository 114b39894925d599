"""What every chain gives: proposals of a video, and who makes them."""

import abc
import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from cmsn_jax.chains import device
from cmsn_jax.files import proposal_files

# (video id, message) of a video that cannot be read.
OnError = Callable[[str, str], None]


class Prediction(NamedTuple):
  """What a chain says of one video.

  Attributes:
    proposals: best first, in seconds.
    probabilities: of the six stages of each snippet, float32 [t, 6]; None
      where a chain has no stages.
  """

  proposals: proposal_files.Proposals
  probabilities: Float[np.ndarray, 't s'] | None


class Predictor(abc.ABC):
  """Proposals of any videos from trained parameters.

  Args:
    config: of the run that trained them, with what the data decide filled in.
    networks: `encode` and `score`, see `protocol.Networks`; serialized programs
      can take their place.
    params: of all that they compute with; {}: to be given by `with_params`.
  """

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

  def with_params(self, params: dict[str, Any]) -> 'Predictor':
    """The same predictor, compiled programs included, on other parameters."""
    other = copy.copy(self)
    other._params = device.put(params)
    return other

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
