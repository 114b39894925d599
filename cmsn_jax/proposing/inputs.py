"""What lies at a path, as a source that a trained run can propose for."""

import contextlib
import os
from collections.abc import Callable, Sequence

import numpy as np
from absl import logging

from cmsn_jax import progress
from cmsn_jax.data import frame_source, sources
from cmsn_jax.features import extracting_store, video_features
from cmsn_jax.features.backbones import c3d
from cmsn_jax.files import feature_concat, feature_files, feature_folders
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.video import decoding, finding, video_files
from cmsn_jax.video import reader as video_reader

_TABLES = frozenset(('.csv', '.tsv', '.txt'))


def feature_source(
  trained: trained_lib.Trained, path, feature_fps: float | None = None
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
  )


def open_source(
  trained: trained_lib.Trained,
  path: str | Sequence[str],
  feature_fps: float | None,
  failures: dict[str, str],
  stack: contextlib.ExitStack,
  find: Callable[[], finding.Found] | None = None,
) -> tuple[sources.Source, dict[str, float]]:
  """The source at a path, and the seconds of each video in it.

  Args:
    trained: the run that is to propose.
    path: see `corpus.propose`.
    feature_fps: snippets a second, where the features do not say.
    failures: gets video id -> why it cannot be read.
    stack: closes what is opened here.
    find: finds the videos, where they are not simply at the path.

  Raises:
    ValueError: if there is nothing at the path that the run can use.
  """
  texts = [path] if isinstance(path, str) else list(path)
  texts = [os.path.expanduser(text) for text in texts]
  path = ', '.join(texts)
  if len(texts) == 1 and _holds_features(path, trained):
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
  found = _videos(texts, find)
  failures.update(found.failures)
  paths, seconds = found.videos, {}
  for video_id, file in list(paths.items()):
    try:
      info = decoding.probe(file)
    except decoding.VideoError as error:
      failures[video_id] = str(error)
      del paths[video_id]
      continue
    seconds[video_id] = max(info.duration_sec, 0.04)
    if info.start_sec:
      logging.info(
        '%s: its picture begins %.2f s after its sound; times count from the '
        "file's beginning, as players' do", file, info.start_sec,
      )  # fmt: skip
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


def _videos(texts, find) -> finding.Found:
  if len(texts) > 1 and any(_is_arrays(text) for text in texts):
    raise ValueError(
      f'of {", ".join(texts)} some hold features: folders of features that '
      'belong together are given as one, with commas between; others one by one'
    )
  try:
    return find() if find else finding.find(texts)
  except video_files.VideoError as error:
    if not any(os.path.isdir(text) for text in texts):
      raise
    raise ValueError(
      f'{", ".join(texts)} holds neither features (.npy, .npz, .csv) nor '
      f'videos ({" ".join(sorted(video_files.SUFFIXES))}): {error}'
    ) from None


def _is_arrays(path) -> bool:
  if os.path.isdir(path):
    names = [os.path.splitext(name)[1].lower() for name in os.listdir(path)]
    return (
      bool(set(names) & (set(feature_folders.READERS) - _TABLES))
      and not set(names) & video_files.SUFFIXES
    )
  return path.lower().endswith(('.h5', '.hdf5'))


class Followed:
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


def _holds_features(path, trained):
  if not os.path.exists(path) and ',' in path:
    # Several folders, joined; a missing one is named when it is opened.
    return any(os.path.exists(part.strip()) for part in path.split(','))
  if os.path.isdir(path):
    files = [os.path.splitext(name) for name in os.listdir(path)]
    # A moving picture beside arrays is no recording.
    suffixes = video_files.SUFFIXES - {'.gif'}
    videos = {stem for stem, end in files if end.lower() in suffixes}
    arrays = {
      stem for stem, end in files if end.lower() in feature_folders.READERS
    }
    if videos and arrays:
      if trained.config.data.input == 'video':
        return False
      # Beside videos lie tables and results of many kinds: what is named as a
      # video is may be its features, unless it is a table, of events rather.
      arrays = {
        stem
        for stem, end in files
        if end.lower() in set(feature_folders.READERS) - _TABLES
      }
      named = len(videos & arrays)
      logging.info(
        '%s holds %d videos, and arrays named as %d of them: the %s are read',
        path, len(videos), named, 'features' if named else 'videos',
      )  # fmt: skip
      return named > 0
    return bool(arrays)
  return path.lower().endswith(('.h5', '.hdf5'))
