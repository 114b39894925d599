"""Temporal actionness grouping, a rival of the paper's Table 2.

Xiong et al., `A Pursuit of Temporal Accuracy
<https://arxiv.org/abs/1703.02716>`, 2017. Actionness is the probability of
Start, Confirm and End by the paper's stage network, in place of a classifier
of its own: what differs from the paper's chain is the grouping alone.
"""

import dataclasses

import ml_collections

from cmsn_jax.chains import protocol
from cmsn_jax.chains.paper import networks as networks_lib
from cmsn_jax.chains.paper import programs as programs_lib
from cmsn_jax.chains.paper import stages_phase
from cmsn_jax.chains.tag import predictor as predictor_lib
from cmsn_jax.data import training_checks, training_data

READS = (
  'windows.length', 'windows.overlap', 'windows.require_instance',
  'windows.jitter', 'stages', 'nms', 'train.stages_epochs',
  'train.eval_every_epochs', 'train.frozen',
)  # fmt: skip
AT_INFERENCE = ('nms',)

predictor = predictor_lib.Predictor
programs = programs_lib.programs


def phases(config: ml_collections.ConfigDict) -> tuple[str, ...]:
  """The one, the paper's 'stages'."""
  del config
  return ('stages',)


def problems(config: ml_collections.ConfigDict) -> list[str]:
  """What cannot be in a config."""
  found = []
  if config.data.input != 'features':
    found.append(
      "config.chain 'tag' learns from features, config.data.input is "
      f'{config.data.input!r}; extract features with launch.extract_features'
    )
  if config.nms.method == 'threshold':
    found.append(
      "config.nms.method 'threshold' needs a probability a threshold, which "
      "the chain 'tag' does not give; take 'greedy' or 'soft'"
    )
  return found


def derive(
  config: ml_collections.ConfigDict, data: training_data.TrainingData
) -> ml_collections.ConfigDict:
  """The config as it is; says which instances no window holds."""
  training_checks.tell_longer(
    data, config.windows.length, 'config.windows.length'
  )
  return config.copy_and_resolve_references().lock()


def networks(config: ml_collections.ConfigDict) -> networks_lib.Networks:
  """The paper's stage network, without its evaluator."""
  return dataclasses.replace(networks_lib.build(config), evaluator=None)


def phase(name: str, job: protocol.Job) -> protocol.Phase:
  """The one."""
  del name
  return stages_phase.stages(job)
