"""A trained run, ready to propose, and what it must know of its data."""

import hashlib
import json
import pathlib
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from cmsn_jax.chains import prediction, registry
from cmsn_jax.data import sources, training_data
from cmsn_jax.runs import config_record, folder


class Trained(NamedTuple):
  """A trained run, ready to propose.

  Attributes:
    predictor: with the best parameters.
    config: of the run.
    data: what its snippets were, see `describe_data`.
    statistics: of the training features, or None.
    identity: names the parameters and settings, for what was made with them.
    phase: whose parameters they are, the last one's.
    step: of them.
  """

  predictor: prediction.Predictor
  config: ml_collections.ConfigDict
  data: dict[str, Any]
  statistics: sources.Statistics | None
  identity: str
  phase: str = ''
  step: int = 0


def load(
  workdir: pathlib.Path,
  phase: str | None = None,
  changes: dict[str, Any] | None = None,
) -> Trained:
  """Reads the best parameters of a run.

  Args:
    workdir: of the run.
    phase: the last one whose parameters are used, e.g. 'stages' leaves the
      evaluator out; None: the last one trained.
    changes: config keys that inference shall see otherwise than the run's
      config has them, e.g. {'nms.method': 'soft'}; scores are then not
      calibrated, but by a 'calibration.given' among them.

  Raises:
    config_record.RunFolderError: if it holds no trained model.
    checkpoints.CheckpointError: if all its checkpoints are damaged.
  """
  found = folder.read_best(workdir, phase)
  config = config_record.from_json(found.meta['config'])
  metrics = found.meta['metrics']
  # Scores that are made otherwise need another calibration.
  if 'score_slope' in metrics and not changes:
    fitted = metrics['score_slope'], metrics['score_offset']
    config.calibration.given = fitted
  if found.meta.get('label_calibration'):
    config.calibration.labels = tuple(found.meta['label_calibration'])
  config.update_from_flattened_dict(changes or {})
  params = found.tree['params']
  identity = hashlib.sha256(json.dumps(found.meta, sort_keys=True).encode())
  if changes:
    identity.update(json.dumps(changes, sort_keys=True).encode())
  for leaf in jax.tree.leaves(params):
    identity.update(np.ascontiguousarray(leaf))
  return Trained(
    registry.predictor(config, params),
    config,
    found.meta['data'],
    statistics_of(found.tree.get('statistics', {})),
    identity.hexdigest()[:16],
    found.meta['phase'],
    found.step,
  )


def describe_data(data: training_data.TrainingData) -> dict[str, Any]:
  """What inference must know of the snippets a model was trained on."""
  return {
    'snippet_shape': list(data.source.snippet_shape),
    'feature_fps': data.source.feature_fps,
    'file_fps': data.file_fps,
    'file_dim': getattr(data.source, 'file_dim', None),
    'pool': data.pool,
    'sidecar': data.sidecar,
    'offset_sec': getattr(data.source, 'offset_sec', 0.0),
    'lost_rows': data.timing.grid.lost_rows if data.timing else 0.0,
    'rescaled': bool(data.timing and data.timing.rescaled),
  }


def statistics_tree(data: training_data.TrainingData) -> dict[str, np.ndarray]:
  """Feature statistics as arrays; empty where features are used as they are."""
  found = data.source.statistics
  return {} if found is None else found.arrays()


def statistics_of(tree: dict[str, np.ndarray]) -> sources.Statistics | None:
  """What `statistics_tree` wrote."""
  return sources.Statistics(**tree) if tree else None
