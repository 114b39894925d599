"""Grouped k-fold: every recording proposed for by a run that never saw its group.

<workdir>/fold_0, fold_1, ...   runs of their own, each with its proposals.json
<workdir>/proposals.json        of all recordings, out of fold, calibrated
<workdir>/final                 the run that learned from all recordings

Nothing is chosen on the recordings that a fold is judged by: each fold trains to
its last step, as the final run does.
"""

import csv
import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections
from absl import logging

from cmsn_jax import sharding
from cmsn_jax.annotations import activitynet
from cmsn_jax.chains import prediction
from cmsn_jax.data import opening
from cmsn_jax.evaluation import metrics
from cmsn_jax.files import proposal_files
from cmsn_jax.runs import folder, judged_lists, trained
from cmsn_jax.suppression import calibration
from cmsn_jax.training import fold_labels, held_out, loop, setup


class Fold(NamedTuple):
  """One fold, done.

  Attributes:
    number: from 0.
    groups: that it is judged by.
    videos: of these groups, by id.
    found: of each video, from the run that did not learn from it; scores as
      they come.
    ar_at_an: of these videos; {} where they have no instance.
    labels: how good their labels are, see `held_out.labels_judged`.
  """

  number: int
  groups: tuple[str, ...]
  videos: dict[str, activitynet.Video]
  found: dict[str, prediction.Prediction]
  ar_at_an: dict[int, float | None]
  labels: dict[str, float] = {}


class Plan(NamedTuple):
  """Which recordings are judged together.

  Attributes:
    config: of the data, with paths that hold for every run of the plan.
    videos: all recordings, by id.
    groups: video id -> group.
    folds: groups of each.
  """

  config: ml_collections.ConfigDict
  videos: dict[str, activitynet.Video]
  groups: dict[str, str]
  folds: tuple[tuple[str, ...], ...]


def groups_of(video_ids: Iterable[str], pattern: str) -> dict[str, str]:
  """Video id -> its group.

  Args:
    video_ids: of all recordings.
    pattern: a regular expression searched in each id; what its brackets match
      (all of it, without brackets) is the group. 'FILE.csv:COLUMN' looks it up
      by the column 'video'. '': each is its own.

  Raises:
    ValueError: if it is none, or gives an id no group.
  """
  file, _, column = pattern.rpartition(':')
  if file.lower().endswith('.csv'):
    return _of_table(list(video_ids), file, column)
  try:
    compiled = re.compile(pattern)
  except re.error as error:
    raise ValueError(
      f'--group={pattern} is no regular expression: {error}'
    ) from None
  found, without = {}, []
  for video_id in video_ids:
    match = compiled.search(video_id)
    if not pattern:
      found[video_id] = video_id
    elif match is None:
      without.append(video_id)
    else:
      parts = [part or '' for part in match.groups()] or [match.group()]
      found[video_id] = '-'.join(parts)
  if without:
    raise ValueError(
      f'--group={pattern} matches {len(found)} recordings, but not '
      f'{len(without)}: {", ".join(sorted(without)[:5])}; each must be in a group'
    )
  return found


def _of_table(video_ids, file, column):
  with open(file, encoding='utf-8-sig', newline='') as opened:
    reader = csv.DictReader(opened)
    for name in ('video', column):
      if name not in (reader.fieldnames or ()):
        raise ValueError(
          f'--group: {file} has no column {name!r}, it has '
          f'{", ".join(reader.fieldnames or ())}'
        )
    rows = [(row['video'], row[column]) for row in reader]
  found = {}
  for video_id, group in rows:
    if found.setdefault(video_id, group) != group:
      raise ValueError(
        f'--group: {file} has {video_id} in two groups, {found[video_id]!r} and '
        f'{group!r}'
      )
  without = [name for name in video_ids if not found.get(name)]
  if without:
    raise ValueError(
      f'--group: {file} has no {column!r} of {len(without)} recordings: '
      f'{", ".join(without[:5])}'
    )
  return {name: found[name] for name in video_ids}


def deal(
  groups: Mapping[str, str], seconds: Mapping[str, float], count: int
) -> tuple[tuple[str, ...], ...]:
  """Groups of each fold, about as many seconds in each.

  Args:
    groups: video id -> group.
    seconds: of each video.
    count: of folds.

  Raises:
    ValueError: if there are fewer groups than folds, or below two folds.
  """
  totals: dict[str, float] = {}
  for video_id, group in groups.items():
    totals[group] = totals.get(group, 0.0) + seconds[video_id]
  if not 2 <= count <= len(totals):
    raise ValueError(
      f'--folds={count}: there are {len(totals)} groups '
      f'({", ".join(sorted(totals)[:5])}{", ..." if len(totals) > 5 else ""}); '
      'give 2 to as many folds'
    )
  dealt = [tuple(sharding.share(totals, k, count)) for k in range(count)]
  return tuple(dealt)


def _check_instances(videos, groups, folds):
  """Checks that each fold's run has instances to learn from."""
  having = {groups[k] for k, video in videos.items() if len(video.segments)}
  for number, held in enumerate(folds):
    if having <= set(held):
      raise ValueError(
        f'all instances are in recordings of fold {number} (groups '
        f'{", ".join(sorted(having)[:5])}), so that the run which is to propose '
        'for them has none to learn from; choose a finer --group or more --folds'
      )


def plan(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  count: int,
  pattern: str,
) -> Plan:
  """Reads the data and deals them out; trains nothing.

  All videos that the config trains on or holds out take part.

  Args:
    config: of the run, as the user gave it.
    workdir: for all runs.
    count: of folds.
    pattern: see `groups_of`.

  Raises:
    ValueError: see `groups_of`, `deal` and `setup.open_run`.
  """
  config = opening.with_generated(config, workdir)
  if config.data.input == 'video' and not config.data.frames_cache:
    # Decoded once for all runs.
    config.data.frames_cache = str(workdir / 'frames')
  data = opening.open_data(config, workdir)
  # Left out when they were read.
  config.data.exclude_labels = ()
  videos = dict(sorted({**data.train, **data.held_out}.items()))
  groups = groups_of(videos, pattern)
  seconds = {k: float(v.duration_sec) for k, v in videos.items()}
  folds = deal(groups, seconds, count)
  _check_instances(videos, groups, folds)
  others = len(data.annotations.videos) - len(videos)
  logging.info(
    '%d recordings in %d groups and %d folds%s', len(videos),
    len(set(groups.values())), count,
    f'; {others} of other subsets or without a file take no part'
    if others else '',
  )  # fmt: skip
  return Plan(config, videos, groups, folds)


def run_fold(
  chosen: Plan, number: int, workdir: pathlib.Path, **options: Any
) -> Fold:
  """Trains a fold's run, and proposes for the recordings it did not see.

  What is done is not done again.

  Args:
    chosen: see `plan`.
    number: of the fold.
    workdir: of all runs; the fold's is `fold_<number>` in it.
    **options: of `loop.train_and_evaluate`.
  """
  own = workdir / f'fold_{number}'
  judged = {k for k, g in chosen.groups.items() if g in chosen.folds[number]}
  config = _config_of(chosen, own, judged)
  config, data = setup.open_run(config, own)
  # Not even the best epoch is chosen on them.
  learns = dataclasses.replace(data, held_out={})
  loop.train_and_evaluate(config, own, learns, **options)
  run = trained.load(own)
  path = own / 'proposals.json'
  if not path.is_file() or _model_of(path) != run.identity:
    found = held_out.predictions(data, run.predictor)
    about = {'used': False, 'details': '', 'model': run.identity}
    fold_labels.write(own, found)
    proposal_files.write(
      path, {k: p.proposals for k, p in found.items()}, external_data=about
    )
  return read_fold(chosen, number, workdir)


def read_fold(chosen: Plan, number: int, workdir: pathlib.Path) -> Fold | None:
  """A fold that is done, by whichever shard; None where it is not."""
  path = workdir / f'fold_{number}' / 'proposals.json'
  if not path.is_file():
    return None
  videos = {
    k: v
    for k, v in chosen.videos.items()
    if chosen.groups[k] in chosen.folds[number]
  }
  proposals = proposal_files.read(path)
  if proposals.keys() != videos.keys():
    raise ValueError(
      f'{path} has other recordings ({len(proposals)}) than the fold now '
      f'({len(videos)}); give another --workdir, or the old --folds and --group'
    )
  found = fold_labels.read(path.parent, proposals)
  return Fold(
    number,
    chosen.folds[number],
    videos,
    found,
    _recall(chosen.config, videos, found),
    _labels_judged(videos, found),
  )


def finish(
  chosen: Plan, folds: Sequence[Fold], workdir: pathlib.Path, **options: Any
) -> dict[int | str, float | None]:
  """Joins the folds' proposals, calibrates, trains on all recordings.

  Args:
    chosen: see `plan`.
    folds: all of them.
    workdir: of all runs.
    **options: of `loop.train_and_evaluate`.

  Returns:
    AR at each AN, of all recordings together, and how good their labels are,
    before they are calibrated.
  """
  found = {k: p for fold in folds for k, p in fold.found.items()}
  found = {k: found[k] for k in chosen.videos}
  # Measured before: on these recordings a fit would praise itself.
  measured = {
    **_recall(chosen.config, chosen.videos, found),
    **_labels_judged(chosen.videos, found),
  }
  settings = chosen.config.calibration
  fitted, of_labels = None, {}
  if settings.fit and not settings.labels:
    found, of_labels = fold_labels.calibrated(found, chosen.videos)
  if settings.fit and not settings.given:
    fitted = calibration.fit(
      held_out.scores_and_gains(p.proposals, chosen.videos[k])
      for k, p in found.items()
    )
    if fitted is None:
      logging.warning(
        'scores are not calibrated: too few proposals match an instance, or '
        'better scores match no more often'
      )
    else:
      logging.info(
        'calibrated on %d recordings, out of fold: slope %.4g, offset %.4g',
        len(found), fitted.slope, fitted.offset,
      )  # fmt: skip
      found = {
        k: p._replace(
          proposals=dataclasses.replace(
            p.proposals, scores=fitted(p.proposals.scores)
          )
        )
        for k, p in found.items()
      }
  proposal_files.write(
    workdir / 'proposals.json', {k: p.proposals for k, p in found.items()}
  )
  own = workdir / 'final'
  config = _config_of(chosen, own, set())
  if fitted is not None:
    config.calibration.given = tuple(fitted)
  config, data = setup.open_run(config, own)
  if of_labels:
    names = config.template.label_names
    with config.unlocked():
      config.calibration.labels = (
        of_labels[''], *(of_labels.get(name, 0.0) for name in names)
      )  # fmt: skip
  loop.train_and_evaluate(config, own, data, **options)
  kept = folder.read_best(own)
  # A threshold for the final run is chosen on what is out of fold.
  judged_lists.write(
    own / kept.meta['phase'],
    kept.step,
    'out-of-fold',
    {
      k: judged_lists.Judged(
        found[k].proposals, v.segments, float(v.duration_sec), v.unknown
      )
      for k, v in chosen.videos.items()
    },
  )
  return measured


def _config_of(chosen, own, judged):
  """Of a run whose annotations name `judged` as those that are held out."""
  videos = {
    k: dataclasses.replace(
      v, subset='validation' if k in judged else 'training'
    )
    for k, v in chosen.videos.items()
  }
  path = own / 'annotations.json'
  activitynet.write(path, activitynet.Annotations('', videos))
  config = chosen.config.copy_and_resolve_references()
  config.data.annotations = str(path)
  config.data.train_subset = 'training'
  config.data.eval_subset = 'validation' if judged else ''
  config.data.holdout = 0.0
  return config


def _labels_judged(videos, found):
  if not any(len(video.segments) for video in videos.values()):
    return {}
  return held_out.labels_judged(videos, found)


def _recall(config, videos, found):
  if not any(len(video.segments) for video in videos.values()):
    return {}
  return metrics.evaluate(
    {k: tuple(p.proposals) for k, p in found.items()},
    {k: video.segments for k, video in videos.items()},
    ignore=activitynet.unknown(videos),
    protocol=config.evaluation.protocol,
    ans=tuple(config.evaluation.ans),
  ).ar_at_an


def _model_of(path):
  document = json.loads(path.read_text(encoding='utf-8'))
  return document.get('external_data', {}).get('model')
