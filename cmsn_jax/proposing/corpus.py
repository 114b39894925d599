"""Proposals for many files: resumable, split over processes, failures kept."""

import contextlib
import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from absl import logging

from cmsn_jax import progress, sharding
from cmsn_jax.annotations import activitynet as annotations_lib
from cmsn_jax.chains import prediction
from cmsn_jax.data import sources
from cmsn_jax.engines import engine as engine_lib
from cmsn_jax.files import feature_rates, stage_files
from cmsn_jax.proposing import inputs, proposer, result_files
from cmsn_jax.proposing import video_labels as video_labels_lib
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.suppression import final_list
from cmsn_jax.video import finding, identities, video_files


def propose(
  workdir: trained_lib.Trained | pathlib.Path,
  path: str | Sequence[str],
  output: pathlib.Path,
  *,
  find: Callable[[], finding.Found] | None = None,
  csv: str | None = None,
  annotations: str | None = None,
  subset: str | None = None,
  feature_fps: float | None = None,
  phase: str | None = None,
  settings: final_list.Settings = final_list.NO_LIMITS,
  save_stages: str | None = None,
  shard: tuple[int, int] = (0, 1),
  append: bool = False,
  keep_features: pathlib.Path | None = None,
  labels: str = 'best',
  video_labels: video_labels_lib.VideoLabels | None = None,
  engine: engine_lib.Settings = engine_lib.IN_PLACE,
  quiet: bool = False,
) -> dict[str, str]:
  """Writes proposals of every video at `path`.

  Args:
    workdir: of a trained run, or what `trained.load` read of it.
    path: a features folder or .h5 file, or several with commas between as the
      run was trained on; or videos, one or several inputs of `finding.find`.
    output: ActivityNet JSON.
    find: finds the videos; None: `finding.find(path)`.
    csv: also written, if given.
    annotations: limits the videos to those of this file, and checks their
      rate against the durations.
    subset: limits them to this subset of it.
    feature_fps: snippets a second, where the features do not say.
    phase: see `trained.load`, where a folder is given.
    settings: what each video's list is limited to.
    save_stages: folder for `<id>.npz` with stage probabilities.
    shard: (i, n): only the i-th of n parts; whoever finishes last joins them.
    append: keep what `output` holds of other inputs.
    keep_features: folder that keeps features extracted from videos: what is
      there is not extracted again, and a video is gone on with where it was.
    labels: see `prediction.Prediction.rows`.
    video_labels: what happens somewhere in each video: a row a likely label of
      it; with labels 'none' those of the run do not count.
    engine: the workers; the result is the same with any.
    quiet: show no progress.

  Returns:
    video id -> why it failed.

  Raises:
    ValueError: if nothing can be done at all, `output` holds proposals of
      another input, or labels are asked of a run that has none.
    dealing.EngineError: if no worker is left.
  """
  trained = workdir
  if isinstance(workdir, pathlib.Path):
    trained = trained_lib.load(workdir, phase)
  _check_labels(trained, labels, video_labels)
  identity = _identity(trained, settings, labels, video_labels)
  failures = {}
  with contextlib.ExitStack() as stack:
    known = annotations_lib.read(annotations) if annotations else None
    opened = inputs.open_source(
      trained, path, feature_fps, failures, stack, find,
      known and known.videos, keep_features,
    )  # fmt: skip
    seconds, failures = _wanted(
      trained, opened, failures, known, subset, path, video_labels
    )
    own = sharding.share(
      {k: v for k, v in seconds.items() if k not in failures}, *shard
    )
    results = result_files.Results(
      result_files.shard_path(output, *shard),
      identity,
      [path] if isinstance(path, str) else list(path),
      append,
    )

    left = _Left(settings)
    job = functools.partial(
      proposer.job, trained, path if isinstance(path, str) else ', '.join(path),
      opened, feature_fps, known and known.videos, keep_features,
    )  # fmt: skip

    here = functools.partial(
      proposer.Proposer, trained.predictor, opened.source, opened.extracting
    )

    def predict(video_ids, bar):
      times = {v: seconds[v] for v in video_ids}
      for video_id, found, error in engine_lib.outcomes(
        engine, times, here, job, bar.reached
      ):
        if error is not None:
          failures[video_id] = error
          continue
        found = left.limit(video_id, found, seconds[video_id])
        rows = _rows(video_id, found, labels, video_labels)
        yield video_id, found._replace(proposals=rows)

    own = _not_of_others(own, opened, results, failures, output)
    run(own, predict, results, failures, seconds, save_stages, opened.source,
        quiet, opened.identify)  # fmt: skip
  left.tell()
  results.finish()
  result_files.join(output, shard[1], identity, csv)
  return failures


def _wanted(trained, opened, failures, known, subset, path, video_labels):
  """(seconds of the videos that were asked for, why some of them fail)."""
  videos = _chosen([*opened.seconds, *failures], known, subset, path)
  failures = {k: v for k, v in failures.items() if k in videos}
  seconds = {k: v for k, v in opened.seconds.items() if k in videos}
  if known and not trained.data.get('rescaled'):
    lost = trained.data.get('lost_rows', 0.0) / trained.data.get('pool', 1)
    _check_durations(opened, seconds, known, lost, failures)
  if video_labels is not None:
    failures |= video_labels.missing(seconds)
  return seconds, failures


def _not_of_others(video_ids, opened, results, failures, output):
  """Without ids under which the output has proposals of another video."""
  kept = []
  for video_id in video_ids:
    try:
      if video_id in results.done and not identities.is_done(
        results.sources.get(video_id), opened.identify(video_id), str(output)
      ):
        logging.info('%s has changed since: made again', video_id)
        results.forget(video_id)
      kept.append(video_id)
    except (ValueError, OSError) as error:
      failures[video_id] = str(error)
  return kept


class _Left:
  """What the limits of a final list leave, counted."""

  def __init__(self, settings):
    self._settings = settings
    self._all, self._kept, self._silent = 0, {}, []

  def limit(self, video_id, found, duration_sec):
    proposals = found.proposals
    kept = final_list.select(
      proposals.segments, proposals.scores, duration_sec, self._settings
    )
    self._all += len(proposals.scores)
    if not len(proposals.scores):
      self._silent.append(video_id)
    self._kept[video_id] = len(kept)
    return found.take(kept)

  def tell(self):
    if self._silent:
      logging.warning(
        'nothing is proposed for %d of %d videos: %s%s. The model sees nothing '
        'like what it learned: another kind of recording, another rate or other '
        'features?', len(self._silent), len(self._kept),
        ', '.join(self._silent[:10]), ' ...' if len(self._silent) > 10 else '',
      )  # fmt: skip
    if self._settings == final_list.NO_LIMITS:
      return
    none = sorted(name for name, count in self._kept.items() if not count)
    # Nothing at all is hardly what was meant.
    say = logging.info if any(self._kept.values()) else logging.warning
    say(
      'final list: %d of %d proposals of %d videos%s',
      sum(self._kept.values()), self._all, len(self._kept),
      f'; none in {len(none)} of them: {", ".join(none[:5])}' if none else '',
    )  # fmt: skip


def _rows(video_id, found, labels, video_labels):
  """The proposals of a video as the file has them."""
  if video_labels is None:
    return found.rows(labels)
  if labels == 'none':
    found = found._replace(labels=None)
  return video_labels.of(video_id, found).rows('all', least=0.0)


def _check_labels(trained, labels, video_labels):
  known = labels != 'all' or trained.predictor.label_names
  if not known and not video_labels:
    raise ValueError(
      "--labels=all: this run gives proposals no labels; the chain 'template' "
      'does, where the training instances have labels, 300 of them at most, and '
      'config.template.label_weight is not 0 (as in runs of earlier versions); '
      "the chain 'paper' with config.stages.action_weight=0.25"
    )
  if not video_labels or not trained.predictor.label_names:
    return
  given = {label for scores in video_labels.scores.values() for label in scores}
  if given.isdisjoint(trained.predictor.label_names):
    logging.warning(
      '%s (--video_labels): none of its labels (%s) is one of the run (%s): '
      'what the run says of labels does not count', video_labels.path,
      ', '.join(sorted(given)[:5]),
      ', '.join(trained.predictor.label_names[:5]),
    )  # fmt: skip


def _identity(trained, settings, labels, video_labels):
  """Names a run together with what is written of its lists."""
  if (settings, labels) == (final_list.NO_LIMITS, 'best') and not video_labels:
    return trained.identity
  # As it was before there were labels.
  more = '' if labels == 'best' else f' labels={labels}'
  if video_labels:
    more += f' video_labels={video_labels.identity}'
  text = f'{trained.identity} {tuple(settings)}{more}'
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_durations(opened, seconds, known, lost, failures):
  """Fails what is not as long as annotated; of damaged files it is told."""
  fps = opened.source.feature_fps
  grid = feature_rates.Grid(fps, 0.0, lost)
  for video_id, length in seconds.items():
    rows, annotated = round(length * fps), known.videos[video_id].duration_sec
    problem = feature_rates.mismatch(video_id, rows, annotated, grid)
    if not problem:
      continue
    if opened.paths is None:
      advice = feature_rates.advice(rows, annotated, grid, False)
      failures[video_id] = f'{problem}; {advice}'
    elif length < annotated and video_files.damage_allowed(None):
      logging.warning(
        '%s: %.2f s of the annotated %.2f s are there', video_id, length,
        annotated,
      )  # fmt: skip
    else:
      failures[video_id] = (
        f'{opened.paths[video_id]}: lasts {length:.2f} s, annotated are '
        f'{annotated:.2f} s; give the file that was annotated, or pass '
        f'{video_files.ALLOW} if it was cut off'
      )


def run(
  video_ids: list[str],
  predict: Callable[..., Iterator[tuple[str, prediction.Prediction]]],
  results: result_files.Results,
  failures: dict[str, str],
  seconds: dict[str, float],
  save_stages: str | None,
  source: sources.Source | None,
  quiet: bool,
  identify: Callable[[str], identities.Identity],
) -> None:
  """Proposes for what is not done yet, with progress in video seconds.

  Stages are saved in the time of the source.
  """
  todo = [v for v in video_ids if v not in results.done]
  if len(todo) < len(video_ids):
    logging.info('%d videos are done already', len(video_ids) - len(todo))
  with progress.VideoBar(
    {v: seconds[v] for v in todo}, 'propose', quiet
  ) as bar:
    for video_id, found in predict(todo, bar):
      if save_stages and found.probabilities is not None:
        file = os.path.join(save_stages, f'{video_id}.npz')
        _write_stages(file, found.probabilities, source, video_id)
      results.add(video_id, found.proposals, identify(video_id).record())
      bar.done(video_id)
    # Nothing more is to come of these.
    for video_id in set(todo) & set(failures):
      bar.done(video_id)
  for video_id, error in failures.items():
    logging.error('%s: %s', video_id, error)


def _write_stages(file, probabilities, source, video_id):
  clock = sources.clock(source, video_id)
  rate = source.feature_fps / clock.stretch
  # Files have no offset: what is before the first window is background.
  before = round(clock.offset_sec * rate)
  if before > 0:
    empty = np.zeros((before, probabilities.shape[1]), probabilities.dtype)
    empty[:, 0] = 1
    probabilities = np.concatenate([empty, probabilities])
  elif -len(probabilities) < before < 0:
    probabilities = probabilities[-before:]
  stage_files.write(file, probabilities, rate)


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
