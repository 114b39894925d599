"""Proposals of videos that a phase did not learn from, beside the truth.

`<workdir>/<phase>/held_out.json`: what a threshold can be chosen on when a run
is used. It belongs to one step's parameters.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from absl import logging
from jaxtyping import Float64

from cmsn_jax import segments as segments_lib
from cmsn_jax.files import proposal_files, replacing

_NAME = 'held_out.json'
# Of a video: more would make the file large, and no threshold useful.
_MOST = 1000


class Judged(NamedTuple):
  """One video.

  Attributes:
    proposals: best first, scores as proposing gives them.
    instances: the ground truth, seconds.
    duration_sec: of the video.
    unknown: spans of which it is not known what happens there.
  """

  proposals: proposal_files.Proposals
  instances: Float64[np.ndarray, 'm 2']
  duration_sec: float
  unknown: Float64[np.ndarray, 'k 2'] = segments_lib.empty()


def write(
  folder: pathlib.Path, step: int, kind: str, videos: Mapping[str, Judged]
) -> None:
  """Keeps the lists of a phase; one process of several does.

  Args:
    folder: `<workdir>/<phase>`.
    step: of the parameters that the lists are for.
    kind: which videos they are, e.g. 'held-out'.
    videos: by id.
  """
  if jax.process_index():
    return
  document = {
    'step': step,
    'kind': kind,
    'videos': {
      video_id: {
        'duration_sec': float(video.duration_sec),
        'instances': video.instances.tolist(),
        'segments': video.proposals.segments[:_MOST].tolist(),
        'scores': video.proposals.scores[:_MOST].tolist(),
        'unknown': video.unknown.tolist(),
      }
      for video_id, video in videos.items()
    },
  }
  with replacing.file(folder / _NAME) as file:
    json.dump(document, file)


def read(
  folder: pathlib.Path, step: int
) -> tuple[str, dict[str, Judged]] | None:
  """Kind and lists of a phase's step; None where there are none of it."""
  path = folder / _NAME
  if not path.is_file():
    return None
  try:
    document = json.loads(path.read_text(encoding='utf-8'))
    if document['step'] != step:
      logging.warning(
        '%s is of step %s, the parameters of step %d', path, document['step'],
        step,
      )  # fmt: skip
      return None
    return document['kind'], {
      video_id: Judged(
        proposal_files.Proposals(
          np.array(one['segments'], np.float64).reshape(-1, 2),
          np.array(one['scores'], np.float64),
        ),
        np.array(one['instances'], np.float64).reshape(-1, 2),
        one['duration_sec'],
        np.array(one.get('unknown', ()), np.float64).reshape(-1, 2),
      )
      for video_id, one in document['videos'].items()
    }
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    logging.warning('%s is not read: %s: %s', path, type(error).__name__, error)
    return None
