"""Proposals and annotations files in; metrics, table, curves out."""

import json
import os
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cmsn_jax.annotations import activitynet as annotations_lib
from cmsn_jax.annotations import checks
from cmsn_jax.evaluation import metrics as metrics_lib
from cmsn_jax.files import proposal_files, proposal_sources, replacing

_NAMED = 10


def evaluate_files(
  proposals: str | os.PathLike | Mapping[str, Any],
  annotations: str | os.PathLike | annotations_lib.Annotations,
  subset: str,
  *,
  exclude_labels: Sequence[str] = (),
  proposals_in: str = 'auto',
  proposals_fps: float | int = 0,
  **options: Any,
) -> metrics_lib.Metrics:
  """AR@AN of a proposals file against a subset of an annotations file.

  Args:
    proposals: ActivityNet result JSON, or what else `proposal_sources` reads;
      or video id -> `Proposals` or (segments [n, 2] in seconds, scores [n]).
    annotations: ActivityNet ground-truth JSON, or what was read of it.
    subset: 'training', 'validation' or 'testing'.
    exclude_labels: ground truth with these labels does not count.
    proposals_in: unit of the proposals, one of `proposal_units.UNITS`.
    proposals_fps: frames a second, where they are in frames.
    **options: of `metrics.evaluate`.
  Returns:
    the figures.
  Raises:
    FileNotFoundError: if a file is not there.
    ValueError: on malformed files, an unknown subset or label, no ground truth
      in the subset, or proposals of other videos only.
  """
  truth = read_truth(annotations, exclude_labels)
  videos = truth.subset(subset)
  found = read_proposals(proposals, truth, proposals_in, proposals_fps)
  warn_past_end(proposals, found, videos)
  many = repeated({k: v for k, v in found.items() if k in videos})
  if many:
    warnings.warn(
      f'{called(proposals, "proposals")}: {many}',
      proposal_files.ProposalFileWarning,
      stacklevel=2,
    )
  try:
    return metrics_lib.evaluate(
      {k: (v.segments, v.scores) for k, v in found.items()},
      {k: v.segments for k, v in videos.items()},
      ignore=annotations_lib.unknown(videos),
      **options,
    )
  except ValueError as error:
    raise ValueError(
      f'{called(proposals, "proposals")} against the {subset} subset of '
      f'{called(annotations, "annotations")}: {error}'
    ) from error


def read_truth(
  annotations: str | os.PathLike | annotations_lib.Annotations,
  exclude_labels: Sequence[str] = (),
) -> annotations_lib.Annotations:
  """Annotations of a file, or as given, without the labels named.

  Raises:
    TypeError: if they are neither.
    ValueError: on a malformed file, or an unknown label.
  """
  if not isinstance(
    annotations, (str, os.PathLike, annotations_lib.Annotations)
  ):
    raise TypeError(
      'annotations must be a path, or what annotations.activitynet.read '
      f'returns, got {type(annotations).__name__}'
    )
  if not isinstance(annotations, annotations_lib.Annotations):
    annotations = annotations_lib.read(annotations)
  if exclude_labels:
    annotations = annotations.without_labels(exclude_labels)
  return annotations


def read_proposals(
  proposals: str | os.PathLike | Mapping[str, Any],
  truth: annotations_lib.Annotations,
  unit: str,
  fps: float | int,
) -> dict[str, proposal_files.Proposals]:
  """Proposals of a file, or as given.

  Args:
    proposals: see `evaluate_files`.
    truth: whose durations tell units apart.
    unit: of a file's times, one of `proposal_units.UNITS`.
    fps: frames a second, where they are in frames.
  Raises:
    ValueError: on malformed proposals, or a unit of those that are no file.
  """
  if not isinstance(proposals, Mapping):
    clock = proposal_sources.clock_of(truth.videos, fps, unit)
    return proposal_sources.read(proposals, clock)
  if (unit, fps) not in (('auto', 0), ('seconds', 0)):
    raise ValueError(
      f'proposals_in={unit!r}, proposals_fps={fps:g}: of files only; give '
      'segments in seconds'
    )
  found = {}
  for video_id, one in proposals.items():
    if not isinstance(one, proposal_files.Proposals):
      segments, scores = (np.asarray(x, np.float64) for x in one)
      one = proposal_files.Proposals(segments.reshape(-1, 2), scores)
    found[video_id] = one.best_first()
  return found


def called(given: Any, what: str) -> str:
  """What messages call proposals or annotations: their file, if there is one."""
  if isinstance(given, (str, os.PathLike)):
    return os.fspath(given)
  return f'the {what} given'


def warn_past_end(
  path: str | os.PathLike | Mapping[str, Any],
  found: Mapping[str, proposal_files.Proposals],
  videos: Mapping[str, annotations_lib.Video],
) -> None:
  """Warns where proposals end past their video.

  Another rate, unit or cut of the videos shows there.

  Args:
    path: of the proposals file, if there is one.
    found: its proposals by video id.
    videos: ground truth by video id.
  """
  past = {}
  for video_id in found.keys() & videos.keys():
    ends = found[video_id].segments[:, 1] - videos[video_id].duration_sec
    count = int((ends > checks.PAST_END_TOLERANCE_SEC).sum())
    if count:
      past[video_id] = count, float(ends.max())
  if not past:
    return
  worst = max(past, key=lambda video_id: past[video_id][1])
  warnings.warn(
    f'{called(path, "proposals")}: {sum(n for n, _ in past.values())} proposals in '
    f'{len(past)} of {len(found.keys() & videos.keys())} videos end past the '
    f'video (most in {worst}: by {past[worst][1]:.1f} s), counted as they are; '
    'are they in seconds, and of the right feature rate?',
    proposal_files.ProposalFileWarning,
    stacklevel=3,
  )


def repeated(found: Mapping[str, proposal_files.Proposals]) -> str:
  """Says so where one segment has a row for each of several labels; else ''.

  mAP asks for such rows; of the K best of AR@AN they take several places.

  Args:
    found: by video id.
  """
  count = 0
  for one in found.values():
    if one.labels is not None:
      count += len(one.scores) - len(np.unique(one.segments, axis=0))
  total = sum(len(one.scores) for one in found.values())
  # A few of other tools' proposals may well be the same.
  if count * 10 <= total:
    return ''
  return (
    f'{count} of {total} rows repeat the segment of another one with another '
    'label: mAP asks for them, but recall counts each as a proposal; for recall '
    'give a file with one row a proposal (launch.propose --labels=best)'
  )


def write(metrics: metrics_lib.Metrics, folder: str | os.PathLike) -> None:
  """Writes metrics.json, ar_an.png and recall_tiou.png."""
  # Drawing loads matplotlib, which a caller of `evaluate_files` need not have.
  from cmsn_jax.evaluation import plots

  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  with replacing.file(folder / 'metrics.json') as file:
    json.dump(metrics.to_json(), file, indent=2, allow_nan=False)
    file.write('\n')
  plots.ar_an_curve(metrics, folder / 'ar_an.png')
  plots.recall_tiou_curve(metrics, folder / 'recall_tiou.png')


def table(metrics: metrics_lib.Metrics) -> str:
  """The same figures for reading; fractions of 1, '-' where there is none."""
  # AN up to 100, ActivityNet's figure; elsewhere it would be of any range.
  area = {'AUC': metrics.auc} if metrics.protocol == 'anet' else {}
  blocks = [
    aligned(
      ['protocol', 'videos', 'ground truth', 'proposals', 'a video'],
      [
        metrics.protocol,
        f'{metrics.num_videos} of {metrics.num_videos_in_subset}',
        str(metrics.num_ground_truth),
        str(metrics.num_proposals),
        f'{metrics.average_num_proposals:.1f}',
      ],
    ),
    aligned(
      ['AN', *map(str, metrics.ar_at_an), *area],
      ['AR', *map(_shown, [*metrics.ar_at_an.values(), *area.values()])],
    ),
    aligned(
      ['tIoU', *(f'{tiou:.2f}' for tiou in metrics.recall_at_tiou)],
      [
        'recall' + _at(metrics.recall_an),
        *map(_shown, metrics.recall_at_tiou.values()),
      ],
    ),
  ]
  return '\n\n'.join([*blocks, *_notes(metrics)])


def _notes(metrics: metrics_lib.Metrics) -> list[str]:
  notes = []
  if None in metrics.ar_at_an.values():
    last = metrics.curve_an[-1] if len(metrics.curve_an) else 0
    notes.append(f'- : no AN that high exists, the highest is {last:.1f}')
  without = metrics.videos_without_proposals
  if without:
    notes.append(f'{len(without)} videos without proposals: {some(without)}')
  return notes


def some(names: Sequence[str]) -> str:
  """The first of many names, and how many there are."""
  more = f' ... ({len(names)} in all)' if len(names) > _NAMED else ''
  return ', '.join(names[:_NAMED]) + more


def _at(an: float | None) -> str:
  return '' if an is None else f' @ AN {an:g}'


def _shown(fraction: float | None) -> str:
  return '-' if fraction is None else f'{fraction:.4f}'


def aligned(*rows: list[str]) -> str:
  """Rows in columns, the first to the left."""
  widths = [max(map(len, column)) for column in zip(*rows)]
  return '\n'.join(
    '  '.join(
      cell.ljust(width) if k == 0 else cell.rjust(width)
      for k, (cell, width) in enumerate(zip(row, widths))
    )
    for row in rows
  )
