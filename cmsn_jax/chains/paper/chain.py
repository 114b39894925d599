"""The paper's chain: runs of arg-max stages, pre-score x PES, Soft-NMS.

Trained in the two phases of Sec. 3.4.
"""

import ml_collections

from cmsn_jax.chains import protocol
from cmsn_jax.chains.paper import (
  evaluator_phase,
  pretrained,
  stages_phase,
)
from cmsn_jax.chains.paper import networks as networks_lib
from cmsn_jax.chains.paper import (
  predictor as predictor_lib,
)
from cmsn_jax.chains.paper import (
  programs as programs_lib,
)
from cmsn_jax.data import training_checks, training_data

READS = (
  'video', 'extractor', 'windows.length', 'windows.overlap',
  'windows.require_instance', 'windows.jitter', 'stages', 'proposals',
  'evaluator', 'nms', 'train.stages_epochs', 'train.evaluator_epochs',
  'train.eval_every_epochs', 'train.frozen',
)  # fmt: skip
AT_INFERENCE = ('nms',)

networks = networks_lib.build
predictor = predictor_lib.Predictor
programs = programs_lib.programs

_PHASES = {
  'stages': stages_phase.stages,
  'evaluator': evaluator_phase.evaluator,
}


def phases(config: ml_collections.ConfigDict) -> tuple[str, ...]:
  """Those of Sec. 3.4; the first alone without an evaluator (Table 4)."""
  return tuple(_PHASES) if config.evaluator.enabled else ('stages',)


def problems(config: ml_collections.ConfigDict) -> list[str]:
  """What cannot be in a config."""
  found = []
  if config.nms.method == 'threshold':
    found.append(
      "config.nms.method 'threshold' needs config.chain 'template', whose "
      'evaluator gives a probability a threshold'
    )
  return found


def derive(
  config: ml_collections.ConfigDict, data: training_data.TrainingData
) -> ml_collections.ConfigDict:
  """From video with a weight set: how it wants its frames. And the labels.

  Raises:
    ValueError: if there are too many labels to tell apart.
  """
  training_checks.tell_longer(
    data, config.windows.length, 'config.windows.length'
  )
  config = pretrained.describe(config).copy_and_resolve_references()
  config.stages.label_names = ()
  if config.stages.action_weight:
    config.stages.label_names = _labels(data)
  return config.lock()


def _labels(data):
  names = training_data.label_names(data)
  if len(names) > training_data.MAX_LABELS:
    raise ValueError(
      f'the training instances have {len(names)} labels, at most '
      f'{training_data.MAX_LABELS} are told apart: set '
      'config.stages.action_weight=0'
    )
  return tuple(names)


def phase(name: str, job: protocol.Job) -> protocol.Phase:
  """One of `phases`."""
  return _PHASES[name](job)
