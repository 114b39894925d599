"""Runs an exported model: needs jax and numpy, nothing else.

launch.export copies this module, and those that it imports, as the package
`cmsn_loader` into the folder that it writes:

import sys
sys.path.insert(0, 'export')
import cmsn_loader
model = cmsn_loader.load('export')
segments, scores = model.propose(features)            # [n, 2] seconds, [n]

Where cmsn_jax is installed, `exported.load` reads the same folder.
"""

import dataclasses
import json
import os
import pathlib
import types
from typing import Any

import jax
import jax.export
import numpy as np

from cmsn_jax.chains.paper import predictor as inference
from cmsn_jax.chains.template import predictor as template_inference
from cmsn_jax.data import sources
from cmsn_jax.runs import config_history


@dataclasses.dataclass(frozen=True)
class ExportedModel:
  """What `load` returns.

  Attributes:
    description: `model.json`: widths, rates, config, what was trained on.
    programs: `jax.export.Exported` by name: `stages` and, if there is one,
      `evaluator`, of symbolic batch and time; `exporting.programs` says what
      they take.
  """

  description: dict[str, Any]
  programs: dict[str, Any]
  _predictor: Any
  _statistics: sources.Statistics | None

  def propose(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Proposals of a whole video of any length, as launch.propose makes them.

    Args:
      features: [t, d] as extracted, at `description['file_fps']` rows a second.

    Returns:
      segments [n, 2] in seconds, scores [n], best first.

    Raises:
      ValueError: on features of another width, or that are not finite.
    """
    found = self.predict(features).proposals
    return found.segments, found.scores

  def predict(self, features: np.ndarray) -> inference.Prediction:
    """`propose`, with the stage probabilities [t, 6] of the whole video.

    These are at `description['feature_fps']` a second.
    """
    source = self._source(features)
    ((_, prediction),) = self._predictor.propose(source, source.ids)
    return prediction

  def stages(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the program `stages` says of one sequence, in one call.

    Args:
      features: [t, d] as extracted; they are pooled and standardised here.

    Returns:
      With the generator 'stage_runs' probabilities [u, 6] and hidden features
      [u, c]; with 'stage_template' their mean over the members and what the
      evaluator pools [m, u, c]. u is t over the rows that make a snippet.

    Raises:
      ValueError: on features of another width, or that are not finite.
    """
    source = self._source(features)
    snippets = source.read(source.ids[0])
    mask = np.ones((1, len(snippets)), bool)
    found = jax.device_get(self.programs['stages'].call(snippets[None], mask))
    if isinstance(self._predictor, inference.Predictor):
      return found[0][0], found[1][0]
    pooled = found[:, 0]
    return pooled[:, :, -6:].mean(axis=0), pooled

  def _source(self, features):
    features = np.asarray(features, np.float32)
    about = self.description
    width = about['file_dim']
    if features.ndim != 2 or features.shape[1] != width or not len(features):
      raise ValueError(
        f'features must have shape [t, {width}], got {features.shape}'
      )
    if not np.isfinite(features).all():
      row = int(np.argmin(np.isfinite(features).all(axis=1)))
      raise ValueError(f'features must be finite, row {row} is not')
    return sources.FeatureSource(
      _Array(features),
      about['file_fps'],
      pool=about['pool'],
      deviation=about['config']['data']['pool_deviation'],
      statistics=self._statistics,
      per_video=about['config']['data']['per_video_features'],
    )


def load(folder: str | os.PathLike) -> ExportedModel:
  """Reads what `launch.export` wrote.

  Raises:
    FileNotFoundError: if the folder holds no exported model.
  """
  folder = pathlib.Path(folder)
  if not (folder / 'model.json').is_file():
    raise FileNotFoundError(f'{folder} holds no exported model (model.json)')
  description = json.loads((folder / 'model.json').read_text())
  description['config'] = config_history.completed(description['config'])
  programs = {
    path.stem: jax.export.deserialize(bytearray(path.read_bytes()))
    for path in sorted(folder.glob('*.jaxexport'))
  }
  with np.load(folder / 'statistics.npz') as arrays:
    statistics = sources.Statistics(**arrays) if arrays.files else None
  config = _attributes(description['config'])
  if config.proposals.generator == 'stage_template':
    predictor = template_inference.TemplatePredictor(
      config, {'joint': None}, _Members(programs, description['reach'])
    )
  else:
    params = dict.fromkeys(programs)
    model = _Networks(programs, description['max_snippets'])
    predictor = inference.Predictor(config, params, model)
  return ExportedModel(description, programs, predictor, statistics)


class _Array:
  """A folder of features that holds one array."""

  def __init__(self, features):
    self.dim = features.shape[1]
    self.ids = ('features',)
    self._features = features

  def num_snippets(self, video_id):
    del video_id
    return len(self._features)

  def read(self, video_id, start=0, stop=None):
    del video_id
    return self._features[start:stop]


class _Networks:
  """`model.Model`, with programs in place of networks and parameters."""

  def __init__(self, programs, max_snippets):
    self._programs = programs
    self._max_snippets = max_snippets

  def stage_scores(self, params, inputs, mask):
    del params
    return self._programs['stages'].call(inputs, mask)

  def proposal_scores(self, params, hidden, starts, ends):
    del params
    if len(hidden) > self._max_snippets:
      raise ValueError(
        f'a candidate is too long for this exported model: its stretch is of '
        f'{len(hidden)} snippets, at most {self._max_snippets} are possible; '
        'use launch.propose'
      )
    return self._programs['evaluator'].call(hidden, starts, ends)


class _Members:
  """`joint_network.Members`, likewise."""

  def __init__(self, programs, reach):
    self._programs = programs
    self.reach = reach

  def encode(self, params, inputs, mask):
    del params
    return self._programs['stages'].call(inputs, mask)

  def evaluate(self, params, pooled, segments):
    del params
    return self._programs['evaluator'].call(pooled, segments)


def _attributes(value):
  if isinstance(value, dict):
    return types.SimpleNamespace(
      **{key: _attributes(item) for key, item in value.items()}
    )
  return value
