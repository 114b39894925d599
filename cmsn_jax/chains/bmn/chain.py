"""The boundary-matching network, the strongest rival of the paper's Table 1.

Lin et al., `BMN <https://arxiv.org/abs/1907.09702>`, ICCV 2019. Windows of
features give the probability of a start and of an end at every border, and two
confidences for the proposal of every start and duration.
"""

from typing import Any

import jax
import ml_collections

from cmsn_jax.chains import protocol
from cmsn_jax.chains.bmn import derive as derive_lib
from cmsn_jax.chains.bmn import matching_phase
from cmsn_jax.chains.bmn import networks as networks_lib
from cmsn_jax.chains.bmn import predictor as predictor_lib

READS = (
  'bmn', 'windows.length', 'windows.overlap', 'windows.require_instance',
  'windows.jitter', 'windows.scale', 'windows.noise', 'windows.channel_drop',
  'nms', 'train.frozen',
)  # fmt: skip
AT_INFERENCE = ('bmn.per_snippet', 'nms')

derive = derive_lib.derive
networks = networks_lib.build
predictor = predictor_lib.Predictor


def phases(config: ml_collections.ConfigDict) -> tuple[str, ...]:
  """The one, 'matching'."""
  del config
  return ('matching',)


def problems(config: ml_collections.ConfigDict) -> list[str]:
  """What cannot be in a config."""
  found = []
  if config.data.input != 'features':
    found.append(
      "config.chain 'bmn' learns from features, config.data.input is "
      f'{config.data.input!r}; extract features with launch.extract_features'
    )
  if config.nms.method == 'threshold':
    found.append(
      "config.nms.method 'threshold' needs a probability a threshold, which "
      "the chain 'bmn' does not give; take 'soft' or 'greedy'"
    )
  durations = tuple(config.bmn.durations)
  if list(durations) != sorted({int(d) for d in durations if d >= 1}):
    found.append(
      'config.bmn.durations must be whole numbers from 1 on, each once and '
      f'ascending, got {durations}'
    )
  return found


def phase(name: str, job: protocol.Job) -> protocol.Phase:
  """The one."""
  del name
  return matching_phase.matching(job)


def programs(
  config: ml_collections.ConfigDict,
  networks: networks_lib.Networks,
  params: dict[str, Any],
  inputs: tuple[Any, Any],
  sizes: tuple[Any, Any],
) -> protocol.Programs:
  """See `protocol.Chain.programs`.

  'stages': windows of exactly `windows.length` snippets [b, t, c], mask [b, t]
  -> boundary probabilities [b, t, 2], confidence maps [b, t, d, 2].
  """
  del config, params, sizes
  snippets, mask = inputs
  b, length = snippets.shape[0], networks.length
  specs = (
    jax.ShapeDtypeStruct((b, length, snippets.shape[2]), snippets.dtype),
    jax.ShapeDtypeStruct((b, length), mask.dtype),
  )
  durations = len(networks.model.durations)
  text = (
    f'window {specs[0].shape} -> boundaries {(b, length, 2)}, confidence maps '
    f'{(b, length, durations, 2)}'
  )
  return protocol.Programs(
    {'stages': protocol.Program(networks.encode, specs, text)}, networks.facts
  )
