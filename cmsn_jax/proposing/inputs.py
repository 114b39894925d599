"""What lies at a path, as a source that a trained run can propose for."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Shaped

from cmsn_jax.annotations import activitynet
from cmsn_jax.data import frame_source, sources
from cmsn_jax.features import extracting_store, video_features
from cmsn_jax.features.backbones import c3d
from cmsn_jax.files import (
  feature_concat,
  feature_files,
  feature_folders,
  feature_gaps,
  feature_resampled,
)
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.video import decoding, finding, identities, video_files
from cmsn_jax.video import reader as video_reader

_TABLES = frozenset(('.csv', '.tsv', '.txt'))
# Recordings are resampled to the rate of the run from rates within this.
_RATIO = 0.5, 2.0


def feature_source(
  trained: trained_lib.Trained,
  path: str | sources.FeatureStore,
  feature_fps: float | None = None,
  known: Mapping[str, activitynet.Video] | None = None,
) -> sources.FeatureSource:
  """Opens features (a path, or an open store) for a trained run.

  Args:
    trained: the run.
    path: the features.
    feature_fps: rows a second of all of them; None: as they, or the
      annotations, say, else as the run was trained on.
    known: annotations of the videos, where there are any.
  Raises:
    ValueError: if their width or rate is not what the run was trained on.
  """
  store = path
  if isinstance(path, str):
    store = feature_concat.open_features(
      path, key=trained.config.data.feature_key or None
    )
  expected = trained.data['file_fps']
  rescaled = trained.data.get('rescaled', False)
  rates = {}
  if not rescaled:
    rates = _rates(trained, path, store, feature_fps, known or {})
  offset = trained.data.get('offset_sec', 0.0)
  width = trained.data['file_dim']
  if isinstance(store, feature_files.FeatureStore):
    store.prefer_dim(width)
  if store.dim != width:
    raise ValueError(
      f'{path} has {store.dim}-dimensional features, the model was trained on '
      f'{width}; use the same extractor'
    )
  if rates:
    logging.warning(
      '%d of %d recordings have another rate than the %g rows a second that the '
      'model was trained on, and are resampled', len(rates), len(store.ids),
      expected,
    )  # fmt: skip
  durations = None
  if rescaled:
    durations = {k: video.duration_sec for k, video in (known or {}).items()}
  # What is extracted here has none.
  of_files = isinstance(store, feature_files.FeatureStore)
  if trained.config.data.fill_gaps_sec and of_files:
    store = _with_gaps(trained, store, rates, durations)
  if rates:
    store = feature_resampled.ResampledStore(
      store, expected, rates, offset * expected
    )
  return sources.FeatureSource(
    store,
    expected,
    pool=trained.data['pool'],
    deviation=trained.config.data.pool_deviation,
    statistics=trained.statistics,
    offset_sec=offset,
    durations=durations,
  )


def _with_gaps(trained, store, rates, durations):
  """The store with its short gaps filled, which it says of each recording."""

  def rate_of(video_id):
    if durations is None:
      return rates.get(video_id, trained.data['file_fps'])
    return store.num_snippets(video_id) / durations[video_id]

  fill_sec = trained.config.data.fill_gaps_sec
  return feature_gaps.GapStore(store, fill_sec, rate_of)


def _rates(trained, path, store, feature_fps, known) -> dict[str, float]:
  """Rows a second of recordings that have others than the run."""
  expected, sidecar = trained.data['file_fps'], store.sidecar or {}
  beside = sidecar.get('feature_fps')
  stride = trained.config.data.feature_stride
  found = {}
  for video_id in store.ids:
    video = known.get(video_id)
    said = beside.get(video_id) if isinstance(beside, dict) else beside
    rate = feature_fps or said or (video and video.feature_fps)
    if not rate and video and video.fps and stride:
      rate = video.fps / stride
    if rate and not np.isclose(rate, expected, rtol=1e-3):
      found[video_id] = float(rate)
  for video_id, rate in found.items():
    # Cameras differ by so much; more is another extractor, or a slip.
    if not _RATIO[0] <= rate / expected <= _RATIO[1]:
      raise ValueError(
        f'{path} has {rate:g} snippets a second ({video_id}), the model was '
        f'trained on {expected:g}; extract the features at {expected:g}'
      )
  return found


class Opened(NamedTuple):
  """What `open_source` returns.

  Attributes:
    source: of all videos.
    seconds: of each that can be read.
    identify: video id -> which video it is.
    extracting: makes the features, where the videos are not features.
    paths: of the videos by id; None where they are features.
  """

  source: sources.Source
  seconds: dict[str, float]
  identify: Callable[[str], identities.Identity]
  extracting: extracting_store.ExtractingStore | None = None
  paths: dict[str, os.PathLike] | None = None


def open_source(
  trained: trained_lib.Trained,
  path: str | Sequence[str],
  feature_fps: float | None,
  failures: dict[str, str],
  stack: contextlib.ExitStack,
  find: Callable[[], finding.Found] | None = None,
  known: Mapping[str, activitynet.Video] | None = None,
  keep_features: pathlib.Path | None = None,
  in_place: bool = False,
) -> Opened:
  """The source at a path, and the seconds of each video in it.

  Args:
    trained: the run that is to propose.
    path: see `corpus.propose`.
    feature_fps: snippets a second, where the features do not say.
    failures: gets video id -> why it cannot be read.
    stack: closes what is opened here.
    find: finds the videos, where they are not simply at the path.
    known: annotations of the videos, where there are any.
    keep_features: folder for features that are extracted from videos.
    in_place: decode in this process.

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
    source = feature_source(trained, path, feature_fps, known)
    seconds = {}
    for video_id in source.ids:
      try:
        snippets = source.num_snippets(video_id)
        source.clock(video_id)
      except (ValueError, OSError) as error:
        failures[video_id] = str(error)
      else:
        seconds[video_id] = snippets / source.feature_fps
    return Opened(source, seconds, lambda v: _of_rows(path, source, v))
  found = _videos(texts, find)
  failures.update(found.failures)
  paths, seconds = dict(found.videos), {}
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
  reader = None
  if not in_place:
    reader = stack.enter_context(video_reader.VideoReader())
  source, extracting = video_source(
    trained, path, paths, reader, feature_fps, known, keep_features
  )
  return Opened(
    source, seconds, lambda v: identities.of(paths[v]), extracting, paths
  )


def video_source(
  trained: trained_lib.Trained,
  path: str,
  paths: Mapping[str, os.PathLike],
  reader: video_reader.VideoReader | None,
  feature_fps: float | None = None,
  known: Mapping[str, activitynet.Video] | None = None,
  keep_features: pathlib.Path | None = None,
) -> tuple[sources.Source, extracting_store.ExtractingStore | None]:
  """Videos as a trained run reads them; none is looked at yet.

  Args:
    trained: the run.
    path: what errors call them.
    paths: by id.
    reader: decodes in another process; None decodes here.
    feature_fps: see `open_source`.
    known: likewise.
    keep_features: likewise.

  Returns:
    the source, and who extracts its features, if anybody.

  Raises:
    ValueError: if the run was trained on features of an unknown extractor.
  """
  if trained.config.data.input == 'video':
    settings = trained.config.video
    source = frame_source.DecodingSource(
      paths, reader, fps=settings.fps, size=settings.size,
      stride=c3d.STRIDE_FRAMES, crop=settings.crop,
    )  # fmt: skip
    return source, None
  record = trained.data['sidecar']
  if not record:
    raise ValueError(
      f'{path} holds videos, but this model was trained on features of an '
      'unknown extractor; extract the features the same way and give their '
      'folder, or train on features from launch.extract_features'
    )
  extractor = video_features.from_record(record, f'the run of {path}')
  store = extracting_store.ExtractingStore(
    extractor, paths, reader, keep_features
  )
  return feature_source(trained, store, feature_fps, known), store


def _of_rows(path, source, video_id) -> identities.Identity:
  """The identity of features, which may be one of many in a file."""
  count = source.num_snippets(video_id)
  rows = sorted({(count - 1) * k // 15 for k in range(16)})
  parts = (source.read(video_id, k, k + 1).tobytes() for k in rows if k >= 0)
  return identities.of_parts(
    os.path.join(path, video_id), [str(count).encode(), *parts]
  )


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
  """A source that says how far its videos are read, or extracted.

  Args:
    source: of the videos.
    extracting: makes the features, where the videos are not features.
    on_seconds: told (video id, seconds reached).
  """

  def __init__(
    self,
    source: sources.Source,
    extracting: extracting_store.ExtractingStore | None,
    on_seconds: Callable[[str, float], None],
  ):
    self._source, self._on_seconds = source, on_seconds
    self.feature_fps = source.feature_fps
    self.snippet_shape = source.snippet_shape
    if extracting is not None:
      extracting.on_seconds = on_seconds

  def num_snippets(self, video_id: str) -> int:
    """Snippets of a video."""
    return self._source.num_snippets(video_id)

  def clock(self, video_id: str) -> Any:
    """See `sources.clock`."""
    return sources.clock(self._source, video_id)

  def read(
    self, video_id: str, start: int, stop: int
  ) -> Shaped[np.ndarray, 't ...']:
    """Snippets [start, stop), and says where they begin."""
    snippets = self._source.read(video_id, start, stop)
    self._on_seconds(video_id, start / self.feature_fps)
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
  return os.path.splitext(path)[1].lower() in feature_folders.READERS
