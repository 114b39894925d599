"""The interface of a chain: all that the rest of the package asks of one.

A chain is one way from snippets to ranked segments. It assembles the steps of
`stages`, `candidates`, `scoring` and `suppression`; training, proposing, export
and `launch.inspect` know it by this interface only. docs/your_own_chain.md
builds one.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import ml_collections
import numpy as np

from cmsn_jax.chains import prediction
from cmsn_jax.data import training_data
from cmsn_jax.data import windows as windows_lib

# Keys and sections that mean the same to every chain.
SHARED = (
  'chain', 'data', 'calibration', 'evaluation', 'train.seed',
  'train.batch_per_device', 'train.accumulate', 'train.learning_rate',
  'train.weight_decay', 'train.optimizer', 'train.momentum', 'train.schedule',
  'train.warmup_steps', 'train.clip_norm', 'train.ema', 'train.dtype',
  'train.init_from', 'train.checkpoint_every_steps',
  'train.checkpoint_every_sec', 'train.log_every_steps',
)  # fmt: skip


def covers(names: tuple[str, ...], key: str) -> bool:
  """Whether one of `names` is a config key, or a section that it is in."""
  return any(key == name or key.startswith(f'{name}.') for name in names)


@runtime_checkable
class Networks(Protocol):
  """Pure functions of a parameter bundle.

  Serialized programs can take their place, so the bundle is given to each of
  them whole.

  Attributes:
    facts: numbers that proposing needs to know of them; kept with an export.
  """

  facts: dict[str, int]

  def encode(self, params: dict[str, Any], inputs: Any, mask: Any) -> Any:
    """What is said of each snippet of a batch of windows."""

  def score(self, params: dict[str, Any], *proposals: Any) -> Any:
    """What is said of each proposal."""

  def shapes(self, snippet_shape: tuple[int, ...]) -> dict[str, Any]:
    """The bundle as `jax.ShapeDtypeStruct`s; nothing is computed."""


class Plan(NamedTuple):
  """How long a phase is.

  Attributes:
    steps: in all.
    eval_every: steps between evaluations of the held-out videos.
  """

  steps: int
  eval_every: int


# (window, generator) -> one training example, arrays by name.
ReadWindow = Callable[
  [windows_lib.Window, np.random.Generator], dict[str, np.ndarray]
]
# See `training.steps.LossFn`.
LossFn = Callable[..., tuple[jax.Array, tuple[jax.Array, dict]]]


@dataclasses.dataclass(frozen=True)
class Phase:
  """What the training loop needs to know of a phase.

  Attributes:
    name: also of its folder in the workdir.
    salt: folded into the run's key for the first parameters, so that phases
      begin differently.
    plan: steps an epoch -> how long it is.
    windows: known without work, so that a finished phase costs nothing.
    prepare: -> (window, generator) -> example; whatever takes long happens
      here.
    init: random key -> parameters.
    loss_fn: see `training.steps.LossFn`.
    bundle: parameters -> all that proposing needs.
    frozen: expressions of parameters that stay as they are.
    stacked_axes: leading axes of every parameter that count several networks.
    counts: batch -> what the means of the loss are over, summed over devices and
      accumulated parts before the loss is computed; None: the loss is one mean
      and returns its weight.
    windows_key: of the config: windows a step, accumulated part and device.
    members: networks that learn side by side, stacked on the first axis of every
      parameter, each by a loss of its own: `loss_fn` is then of one of them (its
      parameters, and its number as `index`), compiled once for all, and needs
      `counts`. 0: one loss of all parameters.
    teach: (parameters, batch, key, number) -> what one of `teachers` says of
      each window, any arrays [b, ...]: one program for all of them. `loss_fn`
      finds them, one after another, as `batch['taught']`.
    teachers: how many.
    begins_anew: False where `init` gives parameters of an earlier phase, so that
      `train.init_from` has no say.
  """

  name: str
  salt: int
  plan: Callable[[int], Plan]
  windows: Sequence[windows_lib.Window]
  prepare: Callable[[], ReadWindow]
  init: Callable[[jax.Array], Any]
  loss_fn: LossFn
  bundle: Callable[[Any], dict[str, Any]]
  frozen: tuple[str, ...] = ()
  stacked_axes: int = 0
  counts: Callable[[dict], Any] | None = None
  windows_key: str = 'train.batch_per_device'
  members: int = 0
  teach: Callable[..., Any] | None = None
  teachers: int = 0
  begins_anew: bool = True


class Job(NamedTuple):
  """What a phase is made from.

  Attributes:
    config: of the run, with what the data decide filled in.
    data: training and held-out videos.
    predictor: of the chain, without parameters.
    batch_size: windows a step, over all devices and processes.
    workdir: of the run.
    earlier: name of a finished phase -> the bundle that it kept.
    quiet: show no progress.
  """

  config: ml_collections.ConfigDict
  data: training_data.TrainingData
  predictor: prediction.Predictor
  batch_size: int
  workdir: pathlib.Path
  earlier: Callable[[str], dict[str, Any]]
  quiet: bool = False

  @property
  def hop(self) -> int:
    """Snippets from one training window to the next."""
    settings = self.config.windows
    return windows_lib.hop_snippets(settings.length, settings.overlap)

  def windows(self, every: bool = False) -> list[windows_lib.Window]:
    """The training windows that the config describes.

    Args:
      every: those without an instance too, whatever it says of them.
    """
    settings = self.config.windows
    return training_data.training_windows(
      self.data,
      settings.length,
      self.hop,
      settings.require_instance and not every,
    )


class Program(NamedTuple):
  """One function of an export, without its parameters.

  Attributes:
    function: of (parameter bundle, *arrays).
    specs: `jax.ShapeDtypeStruct`s of the arrays.
    text: what goes in and comes out, for `launch.inspect`.
  """

  function: Callable[..., Any]
  specs: tuple[Any, ...]
  text: str


class Programs(NamedTuple):
  """What proposing computes.

  Attributes:
    functions: by name; an export keeps them under these names. 'stages' is
      `Networks.encode`, 'evaluator' is `Networks.score`.
    facts: `Networks.facts` of serialized programs.
  """

  functions: dict[str, Program]
  facts: dict[str, int]


@runtime_checkable
class Chain(Protocol):
  """One way from snippets to ranked segments.

  A module is a chain if it has these names.

  Attributes:
    READS: config keys ('nms.sigma') and sections ('stages') that mean something
      to it, beside `SHARED`.
    AT_INFERENCE: those of them that proposing alone sees: they may change
      within a run.
  """

  READS: tuple[str, ...]
  AT_INFERENCE: tuple[str, ...]

  def phases(self, config: ml_collections.ConfigDict) -> tuple[str, ...]:
    """Names of the phases, in their order."""

  def problems(self, config: ml_collections.ConfigDict) -> list[str]:
    """What cannot be in a config, as far as no data are needed to say so."""

  def derive(
    self,
    config: ml_collections.ConfigDict,
    data: training_data.TrainingData,
  ) -> ml_collections.ConfigDict:
    """The config with what the data decide filled in, locked."""

  def networks(self, config: ml_collections.ConfigDict) -> Networks:
    """The networks that a config describes."""

  def predictor(
    self,
    config: ml_collections.ConfigDict,
    networks: Networks,
    params: dict[str, Any],
  ) -> prediction.Predictor:
    """Who proposes; its module needs jax and numpy only."""

  def phase(self, name: str, job: Job) -> Phase:
    """One of `phases`."""

  def programs(
    self,
    config: ml_collections.ConfigDict,
    networks: Networks,
    params: dict[str, Any],
    inputs: tuple[Any, Any],
    sizes: tuple[Any, Any],
  ) -> Programs:
    """What proposing computes, as functions of arrays of given shapes.

    Args:
      config: of the run.
      networks: of it.
      params: the bundle, or its shapes.
      inputs: `jax.ShapeDtypeStruct`s of a batch of windows and of its mask.
      sizes: snippets of a stretch and number of its proposals: numbers, or
        symbolic ones.
    """
