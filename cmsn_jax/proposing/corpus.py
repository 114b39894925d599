"""Proposals for many files: resumable, split over processes, failures kept."""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from cmsn_jax import progress, sharding
from cmsn_jax.annotations import activitynet as annotations_lib
from cmsn_jax.chains.paper import predictor as inference
from cmsn_jax.data import frame_source, sources
from cmsn_jax.features import extracting_store, video_features
from cmsn_jax.features.backbones import c3d
from cmsn_jax.files import (
  feature_concat,
  feature_files,
  feature_folders,
  feature_rates,
  stage_files,
)
from cmsn_jax.proposing import result_files
from cmsn_jax.runs import folder as run_folder
from cmsn_jax.video import decoding, video_files
from cmsn_jax.video import reader as video_reader


class Trained(NamedTuple):
  """A trained run, ready to propose.

  Attributes:
    predictor: with the best parameters.
    config: of the run.
    data: what its snippets were (`run_folder.describe_data`).
    statistics: of the training features, or None.
    identity: names the parameters and settings, for what was made with them.
  """

  predictor: Any
  config: Any
  data: dict
  statistics: sources.Statistics | None
  identity: str


def load(
  workdir: pathlib.Path,
  phase: str | None = None,
  changes: dict[str, Any] | None = None,
) -> Trained:
  """Reads the best parameters of a run.

  Args:
    workdir: of the run.
    phase: 'stages' leaves the evaluator out; None: the last one trained.
    changes: config keys that inference shall see otherwise than the run's
      config has them, e.g. {'nms.method': 'soft'}; scores are then not
      calibrated.

  Raises:
    run_folder.RunFolderError: if it holds no trained model.
    checkpoints.CheckpointError: if all its checkpoints are damaged.
  """
  found = run_folder.read_best(workdir, phase)
  config = run_folder.from_json(found.meta['config'])
  metrics = found.meta['metrics']
  # Scores that are made otherwise need another calibration.
  if 'score_slope' in metrics and not changes:
    fitted = metrics['score_slope'], metrics['score_offset']
    config.joint.calibration = fitted
  config.update_from_flattened_dict(changes or {})
  params = found.tree['params']
  identity = hashlib.sha256(json.dumps(found.meta, sort_keys=True).encode())
  for leaf in jax.tree.leaves(params):
    identity.update(np.ascontiguousarray(leaf))
  return Trained(
    inference.create(config, params),
    config,
    found.meta['data'],
    run_folder.statistics_of(found.tree.get('statistics', {})),
    identity.hexdigest()[:16],
  )


def feature_source(
  trained: Trained, path, feature_fps: float | None = None
) -> sources.FeatureSource:
  """Opens features (a path, or an open store) for a trained run.

  Raises:
    ValueError: if their width or rate is not what the run was trained on.
  """
  store = feature_concat.open_features(path) if isinstance(path, str) else path
  expected = trained.data['file_fps']
  stated = feature_fps or (store.sidecar or {}).get('feature_fps')
  if stated and not np.isclose(stated, expected, rtol=1e-3):
    raise ValueError(
      f'{path} has {stated:g} snippets a second, the model was trained on '
      f'{expected:g}; extract the features at {expected:g}'
    )
  width = trained.data['file_dim']
  if isinstance(store, feature_files.FeatureStore):
    store.prefer_dim(width)
  if store.dim != width:
    raise ValueError(
      f'{path} has {store.dim}-dimensional features, the model was trained on '
      f'{width}; use the same extractor'
    )
  return sources.FeatureSource(
    store,
    expected,
    pool=trained.data['pool'],
    deviation=trained.config.data.pool_deviation,
    statistics=trained.statistics,
    per_video=trained.config.data.per_video_features,
  )


def propose(
  workdir: pathlib.Path,
  path: str,
  output: pathlib.Path,
  *,
  csv: str | None = None,
  annotations: str | None = None,
  subset: str | None = None,
  feature_fps: float | None = None,
  phase: str | None = None,
  save_stages: str | None = None,
  shard: tuple[int, int] = (0, 1),
  quiet: bool = False,
) -> dict[str, str]:
  """Writes proposals of every video at `path`.

  Args:
    workdir: of a trained run.
    path: a features folder or .h5 file; or a video, a folder or glob of videos.
    output: ActivityNet JSON.
    csv: also written, if given.
    annotations: limits the videos to those of this file, and checks their
      rate against the durations.
    subset: limits them to this subset of it.
    feature_fps: snippets a second, where the features do not say.
    phase: see `load`.
    save_stages: folder for `<id>.npz` with stage probabilities.
    shard: (i, n): only the i-th of n parts; whoever finishes last joins them.
    quiet: show no progress.

  Returns:
    video id -> why it failed.

  Raises:
    ValueError: if nothing can be done at all.
  """
  trained = load(workdir, phase)
  failures = {}
  with contextlib.ExitStack() as stack:
    source, seconds = _open(trained, path, feature_fps, failures, stack)
    known = annotations_lib.read(annotations) if annotations else None
    videos = _chosen([*seconds, *failures], known, subset, path)
    failures = {k: v for k, v in failures.items() if k in videos}
    seconds = {k: v for k, v in seconds.items() if k in videos}
    if known:
      _check_durations(source, seconds, known, failures)
    own = sharding.share(
      {k: v for k, v in seconds.items() if k not in failures}, *shard
    )
    results = result_files.Results(
      result_files.shard_path(output, *shard), trained.identity
    )

    def predict(video_ids, bar):
      return trained.predictor.propose(
        _Followed(source, bar), video_ids, on_error=failures.__setitem__
      )

    run(own, predict, results, failures, seconds, save_stages,
        source.feature_fps, quiet)  # fmt: skip
  results.finish()
  result_files.join(output, shard[1], trained.identity, csv)
  return failures


def _open(trained, path, feature_fps, failures, stack):
  """The source at a path, and the seconds of each video in it."""
  if _holds_features(path):
    if trained.config.data.input == 'video':
      raise ValueError(
        f'{path} holds features, but this model was trained on video; give '
        'videos'
      )
    source, seconds = feature_source(trained, path, feature_fps), {}
    for video_id in source.ids:
      try:
        snippets = source.num_snippets(video_id)
      except (ValueError, OSError) as error:
        failures[video_id] = str(error)
      else:
        seconds[video_id] = snippets / source.feature_fps
    return source, seconds
  if os.path.isdir(path) and not video_files.holds_videos(path):
    raise ValueError(
      f'{path} holds neither features (.npy, .npz, .csv) nor videos '
      f'({" ".join(sorted(video_files.SUFFIXES))}); give a folder that holds '
      'them itself, not in folders below it'
    )
  paths, seconds = video_files.find(path), {}
  for video_id, file in list(paths.items()):
    try:
      seconds[video_id] = max(decoding.probe(file).duration_sec, 0.04)
    except decoding.VideoError as error:
      failures[video_id] = str(error)
      del paths[video_id]
  reader = stack.enter_context(video_reader.VideoReader())
  if trained.config.data.input == 'video':
    settings = trained.config.video
    source = frame_source.DecodingSource(
      paths, reader, fps=settings.fps, size=settings.size,
      stride=c3d.STRIDE_FRAMES, crop=settings.crop,
    )  # fmt: skip
    return source, seconds
  record = trained.data['sidecar']
  if not record:
    raise ValueError(
      f'{path} holds videos, but this model was trained on features of an '
      'unknown extractor; extract the features the same way and give their '
      'folder, or train on features from launch.extract_features'
    )
  extractor = video_features.from_record(record, f'the run of {path}')
  store = extracting_store.ExtractingStore(extractor, paths, reader)
  return feature_source(trained, store, feature_fps), seconds


class _Followed:
  """A source that moves a bar as its videos are read."""

  def __init__(self, source, bar: progress.VideoBar):
    self._source, self._bar = source, bar
    self.feature_fps = source.feature_fps

  def num_snippets(self, video_id):
    return self._source.num_snippets(video_id)

  def read(self, video_id, start, stop):
    snippets = self._source.read(video_id, start, stop)
    self._bar.reached(video_id, start / self.feature_fps)
    return snippets


def _holds_features(path):
  if os.path.isdir(path):
    names = (name.lower() for name in os.listdir(path))
    return any(name.endswith(tuple(feature_folders.READERS)) for name in names)
  return path.lower().endswith(('.h5', '.hdf5'))


def _check_durations(source, seconds, known, failures):
  grid = feature_rates.Grid(source.feature_fps)
  for video_id, length in seconds.items():
    found = (
      round(length * source.feature_fps),
      known.videos[video_id].duration_sec,
    )
    problem = feature_rates.mismatch(video_id, *found, grid)
    if problem:
      advice = feature_rates.advice(*found, grid, False)
      failures[video_id] = f'{problem}; {advice}'


def run(
  video_ids: list[str],
  predict: Callable[..., Iterator[tuple[str, inference.Prediction]]],
  results: result_files.Results,
  failures: dict[str, str],
  seconds: dict[str, float],
  save_stages: str | None,
  feature_fps: float,
  quiet: bool,
) -> None:
  """Proposes for what is not done yet, with progress in video seconds."""
  todo = [v for v in video_ids if v not in results.done]
  if len(todo) < len(video_ids):
    logging.info('%d videos are done already', len(video_ids) - len(todo))
  with progress.VideoBar(
    {v: seconds[v] for v in todo}, 'propose', quiet
  ) as bar:
    for video_id, prediction in predict(todo, bar):
      if save_stages:
        file = os.path.join(save_stages, f'{video_id}.npz')
        stage_files.write(file, prediction.probabilities, feature_fps)
      results.add(video_id, prediction.proposals)
      bar.done(video_id)
    # Nothing more is to come of these.
    for video_id in set(todo) & set(failures):
      bar.done(video_id)
  for video_id, error in failures.items():
    logging.error('%s: %s', video_id, error)


def _chosen(ids: Iterable[str], known, subset, path) -> set[str]:
  """Videos that are wanted and there."""
  if subset and known is None:
    raise ValueError('--subset needs --annotations')
  if known is None:
    return set(ids)
  wanted = known.subset(subset) if subset else known.videos
  chosen = set(wanted) & set(ids)
  missing = sorted(set(wanted) - set(ids))
  if not chosen:
    raise ValueError(
      f'none of the {len(wanted)} annotated videos (e.g. {missing[:2]}) is in '
      f'{path} (e.g. {sorted(ids)[:2]})'
    )
  if missing:
    logging.warning(
      '%d annotated videos have no file in %s: %s', len(missing), path,
      ', '.join(missing[:5]),
    )  # fmt: skip
  return chosen
