"""Labels of proposals that are out of fold: kept, joined and calibrated."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from cmsn_jax.chains import prediction
from cmsn_jax.files import proposal_files, replacing
from cmsn_jax.suppression import label_calibration
from cmsn_jax.training import held_out

_NAME = 'labels.npz'


def write(
  folder: pathlib.Path, found: Mapping[str, prediction.Prediction]
) -> None:
  """Keeps how likely each label is, beside a fold's proposals.json.

  Args:
    folder: of the fold.
    found: by video id; of a chain without labels nothing is written.
  """
  labels = {k: p.labels for k, p in found.items() if p.labels is not None}
  if not labels:
    return
  names = next(iter(labels.values())).names
  with replacing.path(folder / _NAME) as temporary:
    # By place: ids need not be names of members of an archive.
    with open(temporary, 'wb') as file:
      np.savez_compressed(
        file,
        about=np.array(json.dumps({'names': names, 'videos': list(labels)})),
        **{f'v{k}': x.probabilities for k, x in enumerate(labels.values())},
      )


def read(
  folder: pathlib.Path, proposals: Mapping[str, proposal_files.Proposals]
) -> dict[str, prediction.Prediction]:
  """The fold's proposals with what `write` kept of their labels."""
  path, labels = folder / _NAME, {}
  if path.is_file():
    with np.load(path) as arrays:
      about = json.loads(str(arrays['about']))
      labels = {
        name: prediction.LabelScores(tuple(about['names']), arrays[f'v{k}'])
        for k, name in enumerate(about['videos'])
      }
  found = {}
  for name, one in proposals.items():
    own = labels.get(name)
    if own is not None and len(own.probabilities) != len(one.scores):
      own = None  # Of proposals that were made again.
    found[name] = prediction.labelled(one, None, own)
  return found


def calibrated(
  found: Mapping[str, prediction.Prediction], videos: Mapping[str, Any]
) -> tuple[dict[str, prediction.Prediction], dict[str, float]]:
  """Labels calibrated on all recordings, and what did it.

  Args:
    found: out of fold, by video id.
    videos: with their instances, by id.

  Returns:
    the predictions, and offset by label with the slope under ''; {} where
    nothing calibrates.
  """
  names = sorted({x for p in found.values() for x in _names(p)})
  # A fold may not know a label of another one.
  aligned = {k: _aligned(p, names) for k, p in found.items()}
  known = {
    k: [x if x in _names(found[k]) else None for x in video.labels]
    for k, video in videos.items()
  }
  fitted = held_out.fit_label_calibration(
    {k: _Known(v.segments, known[k]) for k, v in videos.items()}, aligned
  )
  if not fitted:
    return dict(found), {}
  logging.info(
    'labels calibrated on %d recordings, out of fold: slope %.4g', len(found),
    fitted[0],
  )  # fmt: skip
  done = {
    k: prediction.labelled(
      p.proposals,
      p.probabilities,
      prediction.LabelScores(
        tuple(names),
        label_calibration.applied(fitted, p.labels.probabilities),
      ),
    )
    for k, p in aligned.items()
  }
  return done, {'': fitted[0], **dict(zip(names, fitted[1:]))}


class _Known:
  def __init__(self, segments, labels):
    self.segments, self.labels = segments, labels


def _names(found):
  return found.labels.names if found.labels is not None else ()


def _aligned(found, names):
  if found.labels is None:
    return found
  likely = np.zeros((len(found.proposals.scores), len(names)))
  columns = [names.index(x) for x in found.labels.names]
  likely[:, columns] = found.labels.probabilities
  return found._replace(labels=prediction.LabelScores(tuple(names), likely))
