"""One chain of a comparison: trained, proposing, measured, and what it cost.

Each function is meant to be all that its process does: CPU time and peak of
memory are the process's.
"""

import json
import pathlib
import time
from typing import Any

import jax
import ml_collections
import numpy as np

from cmsn_jax import process_memory
from cmsn_jax.evaluation import comparison
from cmsn_jax.files import replacing
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.training import held_out, loop, setup

_COSTS = 'compare_costs.json'
_ROW = 'compare.json'


def train(
  config: ml_collections.ConfigDict, workdir: pathlib.Path, quiet: bool
) -> None:
  """Trains a run, or goes on, and adds up what it costs.

  Args:
    config: as a user would give it.
    workdir: of the run.
    quiet: show no progress.

  Raises:
    phase_run.Interrupted: when asked to stop; what it cost so far is kept.
  """
  costs = _read(workdir / _COSTS)
  before = time.process_time()
  finished = False
  try:
    opened, data = setup.open_run(config, workdir)
    loop.train_and_evaluate(opened, workdir, data, quiet=quiet)
    finished = True
  finally:
    # To find a finished run finished is no part of its training.
    if not costs.get('finished'):
      spent = time.process_time() - before
      _write(
        workdir / _COSTS,
        {
          'train_cpu_sec': costs.get('train_cpu_sec', 0.0) + spent,
          'train_peak_bytes': max(
            costs.get('train_peak_bytes', 0), process_memory.peak_bytes()
          ),
          'finished': finished,
        },
      )


def measure(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  *,
  subset: str,
  protocol: str,
  ans: tuple[int, ...],
) -> comparison.Row:
  """Proposes with a trained run, evaluates, and keeps the row.

  Args:
    config: as a user would give it.
    workdir: of the run.
    subset: of the annotations; '' the held-out videos.
    protocol: of the recall, see `metrics.evaluate`.
    ans: numbers of proposals.

  Raises:
    ValueError: if there are no such videos, or none has an instance.
  """
  _, data = setup.open_run(config, workdir)
  videos = data.annotations.subset(subset) if subset else data.held_out
  if not any(len(video.segments) for video in videos.values()):
    raise ValueError(
      'no video with an instance to evaluate: give --subset, or hold videos '
      'out with --config.data.holdout=0.2'
    )
  trained = trained_lib.load(workdir)
  propose = trained.predictor.propose
  longest = max(videos, key=data.source.num_snippets)
  # Compiles.
  for _ in propose(data.source, [longest]):
    pass
  before = time.process_time()
  found = dict(propose(data.source, videos))
  spent = time.process_time() - before
  result = held_out.recall(videos, found, protocol=protocol, ans=ans)
  hours = sum(map(data.source.num_snippets, videos)) / (
    3600 * data.source.feature_fps
  )
  costs = _read(workdir / _COSTS)
  row = comparison.Row(
    chain=config.chain,
    ar_at_an={an: _plain(result.ar_at_an[an]) for an in ans},
    average_map=held_out.labels_judged(videos, found).get('map'),
    parameters=sum(
      int(np.size(x)) for x in jax.tree.leaves(trained.predictor.params)
    ),
    train_cpu_sec=costs.get('train_cpu_sec', 0.0),
    propose_cpu_sec_per_hour=spent / hours,
    train_peak_bytes=costs.get('train_peak_bytes', 0),
    propose_peak_bytes=process_memory.peak_bytes(),
    num_videos=len(videos),
    num_ground_truth=sum(len(video.segments) for video in videos.values()),
    num_proposals=sum(len(one.proposals.scores) for one in found.values()),
    protocol=protocol,
    subset=subset,
  )
  _write(workdir / _ROW, row.to_json())
  return row


def _plain(value):
  return None if value is None else float(value)


def _read(path):
  return json.loads(path.read_text()) if path.exists() else {}


def _write(path: pathlib.Path, values: dict[str, Any]) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  with replacing.file(path, 'w') as file:
    json.dump(values, file, indent=2)
