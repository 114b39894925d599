"""Runs an exported model: needs numpy and what runs its programs, nothing else.

launch.export copies this module, and those that it imports, as the package
`cmsn_loader` into the folder that it writes:

import sys
sys.path.insert(0, 'export')
import cmsn_loader
model = cmsn_loader.load('export')
segments, scores = model.propose(features)            # [n, 2] seconds, [n]
model.propose(features).labels                        # of each, or None

That is jax, or ONNX Runtime for an export with --format=onnx. Where cmsn_jax is
installed, `cmsn_jax.load` reads the folder of the former, too.
"""

import dataclasses
import json
import os
import pathlib
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from cmsn_jax.chains import device, prediction
from cmsn_jax.data import sources
from cmsn_jax.files import feature_gaps, proposal_files
from cmsn_jax.runs import config_history


@dataclasses.dataclass(frozen=True)
class ExportedModel:
  """What `load` returns.

  Attributes:
    description: `model.json`: widths, rates, config, what was trained on.
    programs: with a method `call`, by name: `stages` and, if there are any,
      `evaluator` and `labels`, of symbolic batch and time; the chain's
      `programs` says what they take. `jax.export.Exported`, or
      `onnx_runtime.Program`.
    predictor: who proposes with them.
    statistics: of the training features, or None.
  """

  description: dict[str, Any]
  programs: dict[str, Any]
  predictor: prediction.Predictor
  statistics: sources.Statistics | None

  def propose(
    self,
    features: np.ndarray,
    duration_sec: float | None = None,
    *,
    labels: str = 'best',
  ) -> proposal_files.Proposals:
    """Proposals of a whole video of any length, as launch.propose makes them.

    Args:
      features: [t, d] as extracted, at `description['file_fps']` rows a second.
      duration_sec: of the video; needed, and used, where the model was trained
        on features stretched to one length (`description['rescaled']`).
      labels: 'best': each proposal with its likeliest label; 'all': a row a
        likely label, with the score times its probability; 'none'.

    Returns:
      `segments, scores`: [n, 2] in seconds and [n], best first; `labels` and
      `label_scores` of each are its attributes.

    Raises:
      ValueError: on features of another width, or that are not finite; without
        a duration that is needed; 'all' of a model without labels.
    """
    return self.predict(features, duration_sec).rows(labels)

  def predict(
    self, features: np.ndarray, duration_sec: float | None = None
  ) -> prediction.Prediction:
    """`propose`, with the stage probabilities [t, 6] of the whole video.

    These are at `description['feature_fps']` a second.
    """
    if self.description.get('rescaled') and not duration_sec:
      raise ValueError(
        'this model was trained on features stretched to one length: give '
        'duration_sec, the seconds of the video'
      )
    source = self._source(features, duration_sec)
    ((_, found),) = self.predictor.propose(source, source.ids)
    return found

  def encode(self, features: np.ndarray) -> Any:
    """What the program `stages` says of one sequence, in one call.

    Args:
      features: [t, d] as extracted; they are pooled and standardised here.

    Returns:
      as the chain's `programs` says, of a batch of one.

    Raises:
      ValueError: on features of another width, or that are not finite.
    """
    source = self._source(features)
    snippets = source.read(source.ids[0])
    mask = np.ones((1, len(snippets)), bool)
    return device.fetch(self.programs['stages'].call(snippets[None], mask))

  def _source(self, features, duration_sec=None):
    features = np.asarray(features, np.float32)
    about = self.description
    width = about['file_dim']
    if features.ndim == 2 and not len(features):
      raise ValueError(f'features have no rows, of shape {features.shape}')
    if features.ndim != 2 or features.shape[1] != width:
      raise ValueError(
        f'features must have shape [t, {width}], got {features.shape}'
      )
    # Exports of before had no such key.
    fill_sec = about['config']['data'].get('fill_gaps_sec', 0.0)
    finite = np.isfinite(features)
    if fill_sec:
      finite |= np.isnan(features)
    if not finite.all():
      row = int(np.argmin(finite.all(axis=1)))
      raise ValueError(f'features must be finite, row {row} is not')
    store = _Array(features)
    if fill_sec:
      rate = about['file_fps']
      if about.get('rescaled') and duration_sec:
        rate = len(features) / duration_sec
      store = feature_gaps.GapStore(store, fill_sec, lambda _: rate)
    return sources.FeatureSource(
      store,
      about['file_fps'],
      pool=about['pool'],
      deviation=about['config']['data']['pool_deviation'],
      statistics=self.statistics,
      offset_sec=about.get('offset_sec', 0.0),
      durations=({'features': duration_sec} if about.get('rescaled') else None),
    )


def load(
  folder: str | os.PathLike,
  predictor: Callable[[Any, Any, dict], prediction.Predictor],
  reader: Any,
  chain: str | None = None,
) -> ExportedModel:
  """Reads what `launch.export` wrote.

  Args:
    folder: that it wrote.
    predictor: of the chain: config, networks, parameters -> who proposes. The
      loader of an export knows its own.
    reader: module that reads the programs: `jax_programs` or `onnx_runtime`.
    chain: that the export must be of; None: it is known to be.

  Raises:
    FileNotFoundError: if the folder holds no exported model.
    ValueError: if it is of another chain, or format.
  """
  folder = pathlib.Path(folder)
  description = describe(folder)
  if chain not in (None, description['config']['chain']):
    raise ValueError(
      f'{folder} is of the chain {description["config"]["chain"]!r}, this loader '
      f'of {chain!r}; take the cmsn_loader that lies in that folder'
    )
  paths = sorted(folder.glob(f'*{reader.SUFFIX}'))
  if not paths:
    raise ValueError(
      f'{folder} holds no {reader.SUFFIX} programs: it was exported in another '
      'format; take the cmsn_loader that lies in that folder'
    )
  programs = {path.stem: reader.read(path) for path in paths}
  with np.load(folder / 'statistics.npz') as arrays:
    statistics = sources.Statistics(**arrays) if arrays.files else None
  found = predictor(
    _attributes(description['config']),
    Programs(programs, _facts(description)),
    # Parameters lie in the programs; whose they are still counts.
    dict.fromkeys(programs),
  )
  return ExportedModel(description, programs, found, statistics)


def describe(folder: pathlib.Path) -> dict[str, Any]:
  """`model.json` of an export, its config as this version has it.

  Raises:
    FileNotFoundError: if the folder holds no exported model.
  """
  if not (folder / 'model.json').is_file():
    raise FileNotFoundError(f'{folder} holds no exported model (model.json)')
  description = json.loads((folder / 'model.json').read_text())
  description['config'] = config_history.current(description['config'])
  return description


def _facts(description):
  if 'facts' in description:
    return description['facts']
  # Of exports that had them beside the rest.
  names = ('reach', 'max_snippets')
  return {name: description[name] for name in names if name in description}


class _Array:
  """A folder of features that holds one array."""

  path, sidecar, feature_fps = 'the features given', None, None

  def __init__(self, features):
    self.dim = features.shape[1]
    self.ids = ('features',)
    self._features = features

  def num_snippets(self, video_id):
    del video_id
    return len(self._features)

  def read(self, video_id, start=0, stop=None, *, gaps=False):
    del video_id, gaps
    # A copy, in which gaps can be filled.
    return self._features[start:stop].copy()


class Programs:
  """A chain's `Networks`, with programs in place of networks and parameters.

  Args:
    programs: `stages` and, if there are any, `evaluator` and `labels`.
    facts: see `protocol.Networks`.
  """

  def __init__(self, programs: dict[str, Any], facts: dict[str, int]):
    self._programs, self.facts = programs, facts

  def encode(self, params: Any, *arrays: Any) -> Any:
    """Calls `stages`."""
    del params
    return self._programs['stages'].call(*arrays)

  def score(self, params: Any, *arrays: Any) -> Any:
    """Calls `evaluator`."""
    del params
    return self._programs['evaluator'].call(*arrays)

  def label(self, params: Any, *arrays: Any) -> Any:
    """Calls `labels`."""
    del params
    return self._programs['labels'].call(*arrays)


def _attributes(value):
  if isinstance(value, dict):
    return types.SimpleNamespace(
      **{key: _attributes(item) for key, item in value.items()}
    )
  return value
