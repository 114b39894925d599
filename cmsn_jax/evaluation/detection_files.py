"""Labelled proposals and annotations files in; mAP, table, pictures out."""

import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cmsn_jax import segments as segments_lib
from cmsn_jax.annotations import activitynet as annotations_lib
from cmsn_jax.annotations import checks
from cmsn_jax.evaluation import detection, detection_errors, from_files
from cmsn_jax.files import replacing

# Classes of the table; metrics.json has all.
_SHOWN = 30


def evaluate_files(
  proposals: str | os.PathLike | Mapping[str, Any],
  annotations: str | os.PathLike | annotations_lib.Annotations,
  subset: str,
  *,
  exclude_labels: Sequence[str] = (),
  ambiguous_labels: Sequence[str] = detection.AMBIGUOUS,
  suppress: Callable | None = None,
  proposals_in: str = 'auto',
  proposals_fps: float | int = 0,
  **options: Any,
) -> detection.DetectionMetrics:
  """Average precision of a labelled proposals file against a subset.

  Args:
    proposals: ActivityNet result JSON, or what else `proposal_sources` reads, a
      label in each row; ranked by score; or video id -> `Proposals`.
    annotations: ActivityNet ground-truth JSON, or what was read of it.
    subset: 'training', 'validation' or 'testing'.
    exclude_labels: ground truth with these labels does not count.
    ambiguous_labels: ground truth with these labels is neither right nor wrong.
    suppress: called with each video's segments, scores and labels, gives the
      indices kept and their scores; None: all are kept.
    proposals_in: unit of the proposals, one of `proposal_units.UNITS`.
    proposals_fps: frames a second, where they are in frames.
    **options: of `detection.evaluate`.
  Returns:
    the figures.
  Raises:
    FileNotFoundError: if a file is not there.
    ValueError: on malformed files, rows without labels, an unknown subset or
      label, no ground truth in the subset, or proposals of other videos only.
  """
  truth = from_files.read_truth(annotations)
  _check_ambiguous(ambiguous_labels, truth.labels)
  truth = from_files.read_truth(truth, exclude_labels)
  videos = truth.subset(subset)
  found = from_files.read_proposals(
    proposals, truth, proposals_in, proposals_fps
  )
  _require_labels(
    from_files.called(proposals, 'proposals'), found, truth.labels
  )
  from_files.warn_past_end(proposals, found, videos)
  unknown = annotations_lib.unknown(videos)
  clear, ambiguous = detection.clear_and_ambiguous(
    {k: (v.segments, v.labels) for k, v in videos.items()}, ambiguous_labels
  )
  try:
    return detection.evaluate(
      {
        k: _kept(v, suppress, unknown.get(k))
        for k, v in found.items()
        if v.labels is not None
      },
      clear,
      ambiguous=ambiguous,
      **options,
    )
  except ValueError as error:
    raise ValueError(
      f'{from_files.called(proposals, "proposals")} against the {subset} subset '
      f'of {from_files.called(annotations, "annotations")}: {error}'
    ) from error


def _check_ambiguous(names, known) -> None:
  """A misspelt label would count as any other, unseen."""
  for name in names:
    if name not in known and name not in detection.AMBIGUOUS:
      raise ValueError(
        f'unknown label {name!r} in ambiguous_labels'
        f'{checks.suggestion(name, known)}, the annotations have '
        f'{", ".join(known) or "none"}'
      )


def _require_labels(path, found, known) -> None:
  without = [k for k, v in found.items() if len(v.scores) and v.labels is None]
  if without:
    raise ValueError(
      f'{path}: the proposals of {len(without)} of {len(found)} '
      f'videos have no labels (first: {without[0]}); mAP needs "label" in every '
      'row. Proposals without labels are evaluated by --protocol=top_k, thumos '
      'or anet'
    )
  labels = {label for v in found.values() for label in v.labels or ()}
  if labels and not labels & set(known):
    raise ValueError(
      f'{path}: none of its labels ({", ".join(sorted(labels)[:5])}) '
      f'is one of the annotations ({", ".join(known[:5])}); are they numbers of '
      'classes? Give the names'
    )


def _kept(found, suppress, unknown):
  """Segments, scores, labels: those left, and not mostly in unknown spans."""
  kept, scores = np.arange(len(found.scores)), found.scores
  if suppress is not None:
    kept, scores = suppress(found.segments, found.scores, found.labels)
  if unknown is not None:
    counts = ~segments_lib.mostly_within(found.segments[kept], unknown)
    kept, scores = kept[counts], scores[counts]
  return found.segments[kept], scores, [found.labels[k] for k in kept]


def write(
  metrics: detection.DetectionMetrics, folder: str | os.PathLike
) -> None:
  """Writes metrics.json, ap_by_class.png and errors.png."""
  # Drawing loads matplotlib, which a caller of `evaluate_files` need not have.
  from cmsn_jax.evaluation import detection_plots

  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  with replacing.file(folder / 'metrics.json') as file:
    json.dump(metrics.to_json(), file, indent=2, allow_nan=False)
    file.write('\n')
  detection_plots.ap_by_class(metrics, folder / 'ap_by_class.png')
  detection_plots.error_split(metrics.errors, folder / 'errors.png')


def table(metrics: detection.DetectionMetrics) -> str:
  """The same figures for reading; fractions of 1."""
  ambiguous = {}
  if metrics.num_ambiguous:
    ambiguous['ambiguous'] = str(metrics.num_ambiguous)
  head = {
    'protocol': metrics.protocol,
    'videos': str(metrics.num_videos),
    'classes': str(len(metrics.labels)),
    'ground truth': str(metrics.num_instances.sum()),
    **ambiguous,
    'detections': str(metrics.num_detections.sum()),
  }
  blocks = [
    from_files.aligned(list(head), list(head.values())),
    _by_class(metrics),
    _errors(metrics.errors),
    *_notes(metrics),
  ]
  return '\n\n'.join(blocks)


def _by_class(metrics) -> str:
  rows = [['tIoU', *(f'{t:.2f}' for t in metrics.tiou_thresholds), 'mean']]
  mean = [*metrics.map_at_tiou.values(), metrics.average_map]
  rows.append(['mAP', *map(_shown, mean)])
  # The classes that need a look first.
  order = np.argsort(metrics.ap.mean(axis=1), kind='stable')
  for c in order[:_SHOWN]:
    ap = [*metrics.ap[c], metrics.ap[c].mean()]
    rows.append([metrics.labels[c], *map(_shown, ap)])
  text = from_files.aligned(*rows)
  if len(order) > _SHOWN:
    text += f'\n({len(order) - _SHOWN} classes with higher AP not shown)'
  return text


def _errors(errors: detection_errors.ErrorSplit) -> str:
  counts = errors.counts.sum(axis=0)
  names = [*detection_errors.KINDS, 'missed']
  total = max(int(counts.sum()), 1)
  shares = [n / total for n in counts]
  shares.append(errors.missed / errors.num_instances)
  gains = ['', *(f'{errors.gains[name]:+.4f}' for name in names[1:])]
  return from_files.aligned(
    [f'at tIoU {errors.tiou:g}', *names],
    ['count', *map(str, [*counts.tolist(), errors.missed])],
    ['share', *map(_shown, shares)],
    ['mAP without', *gains],
  )


def _notes(metrics) -> list[str]:
  notes = []
  silent = [
    label for label, n in zip(metrics.labels, metrics.num_detections) if not n
  ]
  for what, names in (
    ('classes without detections', silent),
    ('videos without detections', metrics.videos_without_detections),
  ):
    if names:
      notes.append(f'{len(names)} {what}: {from_files.some(names)}')
  return notes


def _shown(fraction: float) -> str:
  return f'{fraction:.4f}'
