"""Runs an exported model: needs jax and numpy, nothing else of this package.

model = exported.load('export/')
probabilities, hidden = model.stages(features)        # [t, 6], [t, c]
scores = model.evaluator(hidden, starts, ends)        # [n]
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

import jax
import jax.export
import numpy as np


@dataclasses.dataclass(frozen=True)
class ExportedModel:
  """What `load` returns.

  Attributes:
    description: `model.json`: widths, rates, config, what was trained on.
  """

  description: dict[str, Any]
  _stages: Any
  _evaluator: Any
  _statistics: dict[str, np.ndarray]

  def stages(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stage probabilities and hidden features of one sequence.

    Args:
      features: [t, d] as extracted; they are standardised here.

    Returns:
      probabilities [t, 6], hidden features [t, c].

    Raises:
      ValueError: on features of another width.
    """
    features = np.asarray(features, np.float32)
    width = self.description['feature_dim']
    if features.ndim != 2 or features.shape[1] != width or not len(features):
      raise ValueError(
        f'features must have shape [t, {width}], got {features.shape}'
      )
    if self._statistics:
      features = (features - self._statistics['mean']) / self._statistics['std']
    mask = np.ones((1, len(features)), bool)
    found = self._stages.call(features[None].astype(np.float32), mask)
    return tuple(np.asarray(part[0]) for part in found)

  def evaluator(
    self, hidden: np.ndarray, starts: np.ndarray, ends: np.ndarray
  ) -> np.ndarray:
    """Scores [n] of proposals from snippet `starts` to `ends` inclusive.

    Args:
      hidden: [t, c], at most one window (`description['window']`) long.
      starts: first snippets, [n].
      ends: last snippets, [n].

    Raises:
      ValueError: if the model was exported without an evaluator, or for more
        than one window.
    """
    window = self.description['window']
    if len(hidden) > window:
      raise ValueError(
        f'hidden must be of one window of at most {window} snippets, got '
        f'{len(hidden)}'
      )
    if self._evaluator is None:
      raise ValueError('this model was exported without an evaluator')
    if not len(starts):
      return np.zeros(0, np.float32)
    padded = np.zeros((window, hidden.shape[1]), np.float32)
    padded[: len(hidden)] = hidden
    found = self._evaluator.call(
      padded,
      np.asarray(starts, np.int32),
      np.asarray(ends, np.int32),
    )
    return np.asarray(found)


def load(folder: str | os.PathLike) -> ExportedModel:
  """Reads what `launch.export` wrote.

  Raises:
    FileNotFoundError: if the folder holds no exported model.
  """
  folder = pathlib.Path(folder)
  if not (folder / 'model.json').is_file():
    raise FileNotFoundError(f'{folder} holds no exported model (model.json)')
  description = json.loads((folder / 'model.json').read_text())

  def program(name):
    path = folder / f'{name}.jaxexport'
    if not path.is_file():
      return None
    return jax.export.deserialize(bytearray(path.read_bytes()))

  with np.load(folder / 'statistics.npz') as arrays:
    statistics = dict(arrays)
  return ExportedModel(
    description, program('stages'), program('evaluator'), statistics
  )
