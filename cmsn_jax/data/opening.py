"""What `config.data` names, opened: annotations joined with their snippets."""

import dataclasses
import pathlib
import re
import sys
import warnings

import ml_collections
from absl import logging

from cmsn_jax.annotations import activitynet as annotations_lib
from cmsn_jax.annotations import recording_names
from cmsn_jax.data import (
  feature_checks,
  feature_statistics,
  feature_timing,
  frame_source,
  training_data,
)
from cmsn_jax.data.synthetic import features, video
from cmsn_jax.features.backbones import c3d
from cmsn_jax.files import feature_concat, feature_gaps, feature_rates
from cmsn_jax.video import finding, frame_store, frame_store_build, video_files


class MissingVideoWarning(UserWarning):
  """Annotated videos have no features or frames and are left out."""


def open_data(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> training_data.TrainingData:
  """Opens what `config.data` names.

  Raises:
    ValueError: see `open_features` and `with_generated`.
  """
  config = with_generated(config, workdir)
  if config.data.input == 'video':
    return open_video(config, workdir)
  return open_features(config)


def with_generated(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> ml_collections.ConfigDict:
  """A copy of a config that names files, made here where it names none.

  Annotations "generated:NxS" stand for N generated sequences of S seconds,
  written to the workdir, so that a run needs no files.

  Raises:
    ValueError: if N and S are no numbers.
  """
  config = config.copy_and_resolve_references()
  name = config.data.annotations
  if not name.startswith('generated:'):
    return config
  generated = re.fullmatch(r'generated:(\d+)x(\d+)', name)
  if not generated:
    raise ValueError(
      "config.data.annotations must be a path or 'generated:NxS' (N videos "
      f'of S seconds), got {name!r}'
    )
  count, seconds = (int(text) for text in generated.groups())
  folder = workdir / 'generated'
  logging.warning(
    'no data are given: %d generated sequences of %d s take their place',
    count, seconds,
  )  # fmt: skip
  maker = features
  if config.data.input == 'video':
    maker = video
  config.data.annotations = str(
    maker.generate(folder, num_videos=count, duration_sec=float(seconds))
  )
  config.data.features = str(folder / 'features')
  config.data.videos = str(folder / 'videos')
  return config


def open_video(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> training_data.TrainingData:
  """Joins annotations and frames, which are decoded here once.

  Raises:
    ValueError: where paths are missing, or videos cannot be decoded.
  """
  data = config.data
  annotations = _annotations(data, 'videos')
  train, held_out = training_data.split(
    annotations, data.train_subset, data.eval_subset, data.holdout
  )
  train = training_data.share_of(train, data.train_share, config.train.seed)
  found = _videos(data.videos, {**train, **held_out})
  train = _present(train, found, data.allow_missing, data.videos)
  held_out = _present(held_out, found, data.allow_missing, data.videos)
  folder = pathlib.Path(data.frames_cache or workdir / 'frames')
  wanted = {video_id: found[video_id] for video_id in {**train, **held_out}}
  report = frame_store_build.build(
    folder,
    wanted,
    frame_store.Format(fps=config.video.fps, size=tuple(config.video.size)),
    progress=sys.stderr.isatty(),
  )
  if report.failed and not data.allow_missing:
    raise ValueError(
      f'{len(report.failed)} of {len(wanted)} videos cannot be decoded: '
      + '; '.join(list(report.failed.values())[:3])
      + '; mend them, or set --config.data.allow_missing=True'
    )
  train = {k: v for k, v in train.items() if k not in report.failed}
  held_out = {k: v for k, v in held_out.items() if k not in report.failed}
  source = frame_source.FrameSource(
    frame_store.FrameStore(folder),
    stride=c3d.STRIDE_FRAMES,
    crop=tuple(config.video.crop),
    random_crop=config.video.random_crop,
    random_flip=config.video.random_flip,
  )
  num_snippets = {k: source.num_snippets(k) for k in {**train, **held_out}}
  grid = feature_rates.Grid(source.feature_fps)
  if video_files.damage_allowed(None):
    train = _as_there(train, num_snippets, grid)
    held_out = _as_there(held_out, num_snippets, grid)
    whole = {**annotations.videos, **train, **held_out}
    annotations = dataclasses.replace(annotations, videos=whole)
  feature_checks.check_lengths(
    num_snippets,
    {k: v.duration_sec for k, v in {**train, **held_out}.items()},
    grid,
    data.videos,
  )
  return training_data.TrainingData(
    annotations, train, held_out, source, file_fps=source.feature_fps
  )


def _as_there(videos, num_snippets, grid):
  """Annotated videos, those that were cut off only as long as they are now."""
  found = dict(videos)
  for video_id, whole in videos.items():
    rows = num_snippets[video_id]
    too_short = rows < grid.rows(whole.duration_sec)
    if too_short and feature_rates.mismatch(
      video_id, rows, whole.duration_sec, grid
    ):
      part = found[video_id] = whole.until(rows / grid.feature_fps)
      lost = len(whole.segments) - len(part.segments)
      warnings.warn(
        f'{video_id}: {part.duration_sec:g} s of the annotated '
        f'{whole.duration_sec:g} s are there; {lost} of its '
        f'{len(whole.segments)} instances are left out',
        video_files.VideoWarning,
        stacklevel=3,
      )
  return found


def _videos(path, wanted):
  """Video files by id; a name of two of the wanted ones is an error."""
  found = finding.find(path)
  for note in found.notes:
    logging.info('%s', note)
  bad = [found.failures[name] for name in wanted if name in found.failures]
  if bad:
    raise video_files.VideoError('; '.join(bad[:3]))
  return found.videos


def _annotations(data, kind):
  for key in ('annotations', kind):
    if not data[key]:
      raise ValueError(f'config.data.{key} is empty; give its path')
  annotations = annotations_lib.read(data.annotations)
  if data.exclude_labels:
    annotations = annotations.without_labels(tuple(data.exclude_labels))
  return annotations


def open_features(
  config: ml_collections.ConfigDict,
) -> training_data.TrainingData:
  """Joins annotations and feature files, and checks that they fit.

  Raises:
    ValueError: where paths are missing, videos lack features, the rate is
      unknown or does not fit a video's duration.
  """
  data = config.data
  annotations = _annotations(data, 'features')
  store = feature_concat.open_features(
    data.features, key=data.feature_key or None
  )
  train, held_out = training_data.split(
    annotations, data.train_subset, data.eval_subset, data.holdout
  )
  train = training_data.share_of(train, data.train_share, config.train.seed)
  train = _present(train, store.ids, data.allow_missing, data.features)
  held_out = _present(held_out, store.ids, data.allow_missing, data.features)
  videos = {**train, **held_out}
  timing = feature_timing.resolve(
    feature_timing.stated(data), store.sidecar, videos
  )
  durations = {k: v.duration_sec for k, v in videos.items()}
  feature_checks.check(
    store,
    durations,
    timing,
    from_video='extractor' in (store.sidecar or {}),
  )
  fps = feature_timing.typical_rate(timing, store, videos)
  if timing.line():
    logging.info('%s', timing.line())
  if data.fill_gaps_sec:
    store = _with_gaps(store, data.fill_gaps_sec, timing, durations)
  store = feature_timing.on_grid(store, timing)
  plain = training_data.TrainingData(
    annotations, train, held_out,
    feature_timing.source(store, fps, timing, durations),
  )  # fmt: skip
  pool = data.pool or training_data.pool_factor(
    map(plain.grid_segments, train), fps, data.target_snippets
  )
  logging.info(
    '%d training and %d held-out videos, %d-dimensional features at %g '
    'snippets a second, %d pooled into one',
    len(train), len(held_out), store.dim, fps, pool,
  )  # fmt: skip
  statistics = None
  if data.standardize:
    statistics = feature_statistics.statistics_of(
      store, train, pool, data.pool_deviation, quantiles=data.normal_scores
    )
  source = feature_timing.source(
    store,
    fps,
    timing,
    durations,
    pool=pool,
    deviation=data.pool_deviation,
    statistics=statistics,
  )
  return training_data.TrainingData(
    annotations, train, held_out, source, pool, fps, store.sidecar, timing
  )


def _with_gaps(store, fill_sec, timing, durations):
  """The store with its short gaps filled; says what is missing, once."""
  rate_of = feature_timing.rate_of(store, timing, durations)
  store = feature_gaps.GapStore(store, fill_sec, rate_of, quiet=True)
  for line in store.summary(durations):
    logging.warning('%s', line)
  return store


def _present(videos, ids, allow_missing, path):
  missing = sorted(set(videos) - set(ids))
  if not missing:
    return videos
  message = (
    f'{len(missing)} of {len(videos)} annotated videos have no file in {path}: '
    + ', '.join(missing[:5])
    + (' ...' if len(missing) > 5 else '')
  )
  near = recording_names.alike(missing[0], set(ids) - set(videos))
  if near:
    message += (
      f'; {missing[0]} looks like {near[0]}: launch.convert_annotations with '
      '--durations and --match=loose takes such names'
    )
  if not allow_missing or len(missing) == len(videos):
    raise ValueError(
      message + '; add them, or set --config.data.allow_missing=True'
    )
  warnings.warn(message, MissingVideoWarning, stacklevel=2)
  return {k: v for k, v in videos.items() if k not in missing}
