"""Who proposes for one video after the other; and how it travels."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from cmsn_jax.annotations import activitynet
from cmsn_jax.chains import prediction, registry
from cmsn_jax.data import sources
from cmsn_jax.engines import jobs
from cmsn_jax.features import extracting_store
from cmsn_jax.proposing import inputs
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.video import reader as video_reader
from cmsn_jax.video import video_files


class Proposer:
  """Predictions of videos; a `jobs.Worker`.

  Args:
    predictor: with its parameters.
    source: of the videos.
    extracting: makes their features, where they are not features.
    reader: is closed in the end; None: there is none, or it is another's.
  """

  def __init__(
    self,
    predictor: prediction.Predictor,
    source: sources.Source,
    extracting: extracting_store.ExtractingStore | None,
    reader: video_reader.VideoReader | None = None,
  ):
    self._predictor, self._source = predictor, source
    self._extracting, self._reader = extracting, reader

  def run(
    self, video_ids: Sequence[str], on_seconds: jobs.OnSeconds
  ) -> Iterator[jobs.Outcome]:
    """Yields outcomes whose values are `prediction.Prediction`."""
    failures = {}
    found = self._predictor.propose(
      inputs.Followed(self._source, self._extracting, on_seconds),
      video_ids,
      on_error=failures.__setitem__,
    )
    for video_id, one in found:
      yield jobs.Outcome(video_id, one)
    for video_id, error in failures.items():
      yield jobs.Outcome(video_id, None, error)

  def close(self) -> None:
    """Ends the process that decodes."""
    if self._reader is not None:
      self._reader.close()


@dataclasses.dataclass(frozen=True)
class Job:
  """A run and its videos, to be sent to a worker; a `jobs.Job`.

  Attributes:
    trained: the run without its predictor.
    params: of the predictor, as numpy arrays.
    path: of the features; what errors call the videos.
    paths: of the videos by id; None where they are features.
    feature_fps: see `inputs.open_source`.
    known: likewise.
    keep_features: likewise.
    allow_damage: read through damage in videos.
  """

  trained: trained_lib.Trained
  params: dict[str, Any]
  path: str
  paths: Mapping[str, os.PathLike] | None
  feature_fps: float | None
  known: Mapping[str, activitynet.Video] | None
  keep_features: pathlib.Path | None
  allow_damage: bool

  def start(self) -> Proposer:
    """Reads what all videos need."""
    video_files.allow_damage(self.allow_damage)
    predictor = registry.predictor(self.trained.config, self.params)
    options = {'feature_fps': self.feature_fps, 'known': self.known}
    if self.paths is None:
      source = inputs.feature_source(self.trained, self.path, **options)
      return Proposer(predictor, source, None)
    reader = video_reader.VideoReader()
    source, extracting = inputs.video_source(
      self.trained, self.path, self.paths, reader,
      keep_features=self.keep_features, **options,
    )  # fmt: skip
    return Proposer(predictor, source, extracting, reader)


def job(
  trained: trained_lib.Trained,
  path: str,
  opened: inputs.Opened,
  feature_fps: float | None,
  known: Mapping[str, activitynet.Video] | None,
  keep_features: pathlib.Path | None,
) -> Job:
  """What `opened` is, as it travels; see `Job`."""
  if opened.paths is None:
    # A worker may have another working directory.
    path = ','.join(
      os.path.abspath(os.path.expanduser(p.strip()))
      for p in (path.split(',') if not os.path.exists(path) else [path])
    )
  return Job(
    trained._replace(predictor=None),
    jax.device_get(trained.predictor.params),
    path,
    opened.paths
    and {k: video_files.absolute(p) for k, p in opened.paths.items()},
    feature_fps,
    known,
    keep_features and pathlib.Path(keep_features).absolute(),
    video_files.damage_allowed(None),
  )
