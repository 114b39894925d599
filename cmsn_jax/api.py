"""What a library user calls: load, train, evaluate.

    import cmsn_jax
    model = cmsn_jax.load('runs/mine')
    segments, scores = model.propose('video.mp4')      # [n, 2] seconds, [n]

Bad input raises ValueError, TypeError or FileNotFoundError with the message
that is the last line of the command that does the same.
"""

import contextlib
import logging
import os
import pathlib
import runpy
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from cmsn_jax.annotations import activitynet as annotations_lib
from cmsn_jax.chains import prediction, registry
from cmsn_jax.chains import protocol as protocol_lib
from cmsn_jax.evaluation import detection, detection_files, from_files
from cmsn_jax.evaluation import metrics as metrics_lib
from cmsn_jax.files import feature_memory, proposal_files
from cmsn_jax.proposing import exported_run, exporting, inputs, streaming
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.training import config_checks

PathLike = str | os.PathLike
_MAP_PROTOCOLS = ('map', 'map_anet')
# Keys whose 0 is a question to the training data.
_FROM_DATA = (
  'template.slow_stages', 'template.slow_features', 'template.temper',
  'template.per_snippet',
)  # fmt: skip


class Model:
  """A trained model; made by `load` and `train`.

  Args:
    trained: predictor, config, and what its snippets were.
    path: where it lies.
    is_export: whether it was read from an export.

  Attributes:
    config: of the run, with what the data decided filled in; locked.
    path: as given.
    identity: names parameters and settings; proposal files carry it.
  """

  def __init__(
    self,
    trained: trained_lib.Trained,
    path: pathlib.Path,
    is_export: bool = False,
  ):
    self._trained, self._is_export = trained, is_export
    self.config, self.identity = trained.config, trained.identity
    self.path = path

  @property
  def feature_fps(self) -> float:
    """Rows a second of the features that it takes; of video, snippets."""
    about = self._trained.data
    return about['file_fps'] or about['feature_fps']

  @property
  def snippet_fps(self) -> float:
    """Rows a second of the stage probabilities that `predict` gives."""
    return self._trained.data['feature_fps']

  @property
  def label_names(self) -> tuple[str, ...]:
    """Labels that its proposals are given; () where it gives none."""
    return self._trained.predictor.label_names

  def propose(
    self,
    video: Any,
    *,
    feature_fps: float | None = None,
    labels: str = 'best',
  ) -> proposal_files.Proposals:
    """Proposals of one video, as launch.propose makes them.

    A video is decoded in this process.

    Args:
      video: path of a video or of a file of features, or an array [t, d] of
        features as extracted, `feature_fps` rows a second.
      feature_fps: rows a second of `video`, where it does not say; checked
        against what the model was trained on.
      labels: 'best': each proposal with its likeliest label; 'all': a row a
        likely label, with the score times its probability; 'none'.

    Returns:
      `segments, scores`: [n, 2] seconds float64 and [n], best first; what
      happens in each is in the attributes `labels` and `label_scores`, None of
      a model without labels.

    Raises:
      FileNotFoundError: if there is nothing at the path.
      ValueError: on features of another width or rate, or that are not finite;
        a damaged file; several videos; or the other kind of input than the
        model was trained on.
    """
    return self.predict(video, feature_fps=feature_fps).rows(labels)

  def predict(
    self, video: Any, *, feature_fps: float | None = None
  ) -> prediction.Prediction:
    """`propose`, with all that is said of the video.

    That is the stage probabilities [t, 6], `snippet_fps` rows a second, and how
    likely each label is in each proposal.

    Args:
      video: see `propose`.
      feature_fps: likewise.

    Raises:
      ValueError, FileNotFoundError: as `propose`.
    """
    with contextlib.ExitStack() as stack:
      if isinstance(video, PathLike):
        source, name = self._one(os.fspath(video), feature_fps, stack)
      else:
        source = self._of_array(video, feature_fps)
        (name,) = source.ids
      ((_, found),) = self._trained.predictor.propose(source, [name])
      return found

  def propose_all(
    self,
    path: PathLike,
    on_error: prediction.OnError | None = None,
    *,
    feature_fps: float | None = None,
    labels: str = 'best',
  ) -> Iterator[tuple[str, proposal_files.Proposals]]:
    """Yields (video id, proposals) of all videos at a path.

    For a long list `launch.propose` is the better way: it goes on where it was
    stopped.

    Args:
      path: what launch.propose takes as --input: a folder, glob or file of
        features or videos.
      on_error: called with (video id, message) of a video that cannot be read,
        which is then left out; None: the error is raised.
      feature_fps: see `propose`.
      labels: likewise.

    Raises:
      ValueError, FileNotFoundError: as `propose`.
    """
    failures = {}
    with contextlib.ExitStack() as stack:
      source, seconds = inputs.open_source(
        self._trained, os.fspath(path), feature_fps, failures, stack
      )[:2]
      for video_id, message in failures.items():
        if on_error is None:
          raise ValueError(f'{video_id}: {message}')
        on_error(video_id, message)
      return self._each(
        source, list(seconds), on_error, labels, stack.pop_all()
      )

  def stream(
    self,
    feature_fps: float | None = None,
    *,
    latency_sec: float | None = None,
    context_sec: float | None = None,
  ) -> streaming.Stream:
    """Proposals of a recording that still runs: `push(rows)`, then `flush()`.

    Args:
      feature_fps: rows a second that will be pushed; None: as the model was
        trained on.
      latency_sec: how long after its end a proposal is told at the latest;
        None: the median duration of the training instances.
      context_sec: how much of the past is looked at; None: two windows of the
        training, and 24 median durations at least.

    Raises:
      ValueError: of a model on video, or a rate or latency that cannot be.
    """
    return streaming.Stream(
      self._trained, feature_fps, latency_sec, context_sec
    )

  def export(self, folder: PathLike, *, form: str = 'jax') -> dict[str, int]:
    """Writes it as programs that need numpy and jax, or ONNX Runtime, only.

    Args:
      folder: made where it is missing.
      form: 'jax', or 'onnx'; see launch.export.

    Returns:
      file name -> bytes, without those of the loader.

    Raises:
      ValueError: of a model on video, or of one that was read from an export.
    """
    if self._is_export:
      raise ValueError(f'{self.path} is an export already; copy the folder')
    return exporting.write(self._trained, pathlib.Path(folder), form)

  def __repr__(self) -> str:
    shape = list(self._trained.data['snippet_shape'])
    return (
      f'<cmsn_jax.Model {str(self.path)!r}: chain {self.config.chain!r}, '
      f'{self.config.data.input}, snippets {shape} at {self.snippet_fps:g} a '
      f'second, {self.identity}>'
    )

  def _one(self, path, feature_fps, stack):
    """The source at a path, and the one video in it."""
    failures = {}
    source, seconds = inputs.open_source(
      self._trained, path, feature_fps, failures, stack, in_place=True
    )[:2]
    ids = sorted({*seconds, *failures})
    if len(ids) != 1:
      raise ValueError(
        f'{path} holds {len(ids)} videos ({", ".join(ids[:3])}, ...); give the '
        'path of one, or take propose_all'
      )
    if failures:
      raise ValueError(failures[ids[0]])
    return source, ids[0]

  def _of_array(self, video, feature_fps):
    store = feature_memory.ArrayStore(video)
    if self.config.data.input == 'video':
      raise ValueError(
        f'{store} holds features, but this model was trained on video; give '
        'videos'
      )
    return inputs.feature_source(self._trained, store, feature_fps)

  def _each(self, source, ids, on_error, labels, stack):
    with stack:
      found = self._trained.predictor.propose(source, ids, on_error)
      for video_id, one in found:
        yield video_id, one.rows(labels)


def load(
  path: PathLike,
  *,
  phase: str | None = None,
  changes: Mapping[str, Any] | None = None,
) -> Model:
  """A trained model.

  Args:
    path: folder of a run, or one that launch.export wrote.
    phase: of a run: the last phase whose parameters are used, e.g. 'stages'
      leaves the paper chain's evaluator out; None: the last one trained.
    changes: config keys that proposing shall see otherwise than the run has
      them, e.g. {'nms.method': 'greedy'}; scores are then not calibrated.

  Raises:
    FileNotFoundError: if there is no such folder.
    ValueError: if it holds no trained model, or on a key or value that cannot
      be.
  """
  folder, changes = pathlib.Path(path), dict(changes or {})
  if not folder.exists():
    raise FileNotFoundError(
      f'{folder}: no such folder; give one of launch.train or launch.export'
    )
  is_export = (folder / 'model.json').is_file()
  read = exported_run.load if is_export else trained_lib.load
  try:
    with _without_orbax_notes():
      trained = read(folder, phase, changes)
  except (KeyError, AttributeError) as error:
    if not changes:
      raise
    why = str(error.args[0]).splitlines()[-1]
    raise ValueError(f'changes={changes}: no such config key. {why}') from error
  if changes:
    _check_changes(trained.config, changes)
  return Model(trained, folder, is_export)


def train(
  config: ml_collections.ConfigDict | PathLike,
  workdir: PathLike,
  *,
  phase: str = 'all',
  quiet: bool = False,
) -> Model:
  """Trains a run, or goes on where its workdir stands, as launch.train.

  Args:
    config: of the run, left as it is; or the path of a config file, with
      ':argument' where it takes one.
    workdir: checkpoints, metrics and TensorBoard events go here.
    phase: 'all', or one of the chain's; those before it must be finished.
    quiet: show no progress bar.

  Returns:
    the trained model, with the best parameters.

  Raises:
    ValueError: of a config that cannot be, or data that do not fit it.
    FileNotFoundError: if a file is not there.
    training.phase_run.NanLossError: when the loss stops being finite.
    training.phase_run.Interrupted: after SIGTERM or SIGINT, once the state is
      saved; the same call goes on there.
  """
  # Takes a second to import, for which those who only propose need not wait.
  from cmsn_jax.training import setup

  config, workdir = _config_of(config), pathlib.Path(workdir)
  config_checks.check(config)
  config_checks.check_phase(config, phase)
  with _without_orbax_notes():
    setup.run(config, workdir, phase=phase, quiet=quiet)
  return load(workdir, phase=None if phase == 'all' else phase)


def evaluate(
  proposals: PathLike | Mapping[str, Any],
  annotations: PathLike | annotations_lib.Annotations,
  subset: str = 'testing',
  *,
  protocol: str = 'thumos',
  **options: Any,
) -> metrics_lib.Metrics | detection.DetectionMetrics:
  """AR@AN, or mAP, of proposals against ground truth, as launch.evaluate.

  Args:
    proposals: a proposals file; or video id -> `Proposals`, or (segments
      [n, 2] in seconds, scores [n]).
    annotations: ActivityNet ground-truth JSON, or what
      `annotations.activitynet.read` made of it.
    subset: 'training', 'validation' or 'testing'.
    protocol: AR@AN: 'thumos', 'anet' or 'top_k'; mAP: 'map' or 'map_anet'.
    **options: of `evaluation.from_files.evaluate_files`, of
      `evaluation.detection_files.evaluate_files` for mAP.

  Returns:
    `Metrics`, with `ar_at_an[100]`; `DetectionMetrics` for mAP.

  Raises:
    FileNotFoundError: if a file is not there.
    ValueError: on malformed proposals or annotations, an unknown protocol,
      subset or label, no ground truth in the subset, or proposals of other
      videos only.
  """
  files = detection_files if protocol in _MAP_PROTOCOLS else from_files
  return files.evaluate_files(
    proposals, annotations, subset, protocol=protocol, **options
  )


def _check_changes(config, changes):
  """That what is changed is what proposing alone sees."""
  chain = registry.load(config.chain)
  free = (*chain.AT_INFERENCE, 'calibration.given')
  fixed = [k for k in changes if not protocol_lib.covers(free, k)]
  if fixed:
    raise ValueError(
      f'config.{fixed[0]} is fixed by training; what may change is '
      f'{", ".join(free)}'
    )
  for key in _FROM_DATA:
    if changes.get(key) == 0:
      raise ValueError(
        f'config.{key}: 0 takes it from the training data, which a trained run does '
        'not see; give a number, or leave it as trained'
      )
  config_checks.check(config)


@contextlib.contextmanager
def _without_orbax_notes():
  """Orbax warns of being read-only, which is asked of it."""

  def kept(record):
    return record.levelno >= logging.ERROR or 'orbax' not in record.pathname

  logger = logging.getLogger('absl')
  logger.addFilter(kept)
  try:
    yield
  finally:
    logger.removeFilter(kept)


def _config_of(given):
  if isinstance(given, ml_collections.ConfigDict):
    return given.copy_and_resolve_references()
  if not isinstance(given, PathLike):
    raise TypeError(
      'config must be a ConfigDict or the path of a config file, got '
      f'{type(given).__name__}'
    )
  path, _, argument = os.fspath(given).partition(':')
  if not os.path.isfile(path):
    raise FileNotFoundError(f'{path}: no such config file')
  make = runpy.run_path(path).get('get_config')
  if make is None:
    raise ValueError(f'{path} is no config file: it has no get_config')
  return (make(argument) if argument else make()).lock()
