"""Pictures of mAP: classes, and kinds of errors (as in DETAD)."""

import os

import matplotlib.figure
import numpy as np

from cmsn_jax.evaluation import detection, detection_errors
from cmsn_jax.files import replacing

_INK, _RULE = '#1c2733', '#d9dee4'
_LINE = '#0072b2'
# Okabe and Ito's palette; grey for what is about nothing.
_COLOURS = {
  'right': '#009e73',
  'double': '#0072b2',
  'confusion': '#cc79a7',
  'localisation': '#e69f00',
  'background': '#aab3bd',
  'missed': '#d55e00',
}
# More classes than these are drawn as the worst and the best of them.
_CLASSES = 40


def ap_by_class(
  metrics: detection.DetectionMetrics, path: str | os.PathLike
) -> None:
  """Draws each class's average precision: the mean, and the thresholds' range.

  Args:
    metrics: of one set of detections.
    path: the PNG; replaced at once.
  """
  mean = metrics.ap.mean(axis=1)
  order = np.argsort(mean, kind='stable')
  if len(order) > _CLASSES:
    half = _CLASSES // 2
    order = np.concatenate([order[:half], order[-half:]])
  figure = matplotlib.figure.Figure(
    figsize=(6.4, 1.4 + 0.24 * len(order)), layout='constrained'
  )
  axes = figure.subplots()
  place = np.arange(len(order))
  low, high = metrics.ap[order].min(axis=1), metrics.ap[order].max(axis=1)
  axes.barh(place, mean[order], color=_LINE, height=0.62)
  axes.hlines(place, low, high, color=_INK, linewidth=1.0)
  names = [
    f'{_short(metrics.labels[c])} ({metrics.num_instances[c]})' for c in order
  ]
  # A label is a name, whatever dollars are in it.
  axes.set_yticks(place, names, fontsize=8, parse_math=False)
  axes.axvline(metrics.average_map, color=_INK, linewidth=0.8, linestyle=':')
  axes.set_xlim(0, 1)
  axes.set_ylim(-0.6, len(order) - 0.4)
  axes.set_xlabel(
    'Average precision: mean, lowest and highest tIoU', color=_INK
  )
  shown = (
    f', {len(order)} of {len(mean)} classes' if len(mean) > len(order) else ''
  )
  axes.set_title(
    f'{metrics.protocol} protocol: mAP {metrics.average_map:.3f}{shown}',
    fontsize=10, color=_INK, loc='left',
  )  # fmt: skip
  _plain(axes, 'x')
  _save(figure, path)


def error_split(
  errors: detection_errors.ErrorSplit, path: str | os.PathLike
) -> None:
  """Draws how detections fall into kinds, by rank, and what each kind costs.

  Args:
    errors: of one set of detections.
    path: the PNG; replaced at once.
  """
  figure = matplotlib.figure.Figure(figsize=(9.2, 4.2), layout='constrained')
  left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
  _by_rank(left, errors)
  _gains(right, errors)
  _save(figure, path)


def _by_rank(axes, errors):
  total = errors.counts.sum(axis=1)
  shares = errors.counts / np.maximum(total, 1)[:, None] * 100
  place = np.arange(1, len(total) + 1)
  below = np.zeros(len(total))
  for kind, name in enumerate(detection_errors.KINDS):
    axes.bar(
      place, shares[:, kind], bottom=below, width=0.78,
      color=_COLOURS[name], label=name,
    )  # fmt: skip
    below = below + shares[:, kind]
  axes.set_xticks(place, [f'{k}G' for k in place])
  axes.set_ylim(0, 100)
  axes.set_xlabel('Rank in the class; G: its ground-truth segments', color=_INK)
  axes.set_ylabel('Share of the detections (%)', color=_INK)
  axes.set_title(
    f'{int(total.sum())} detections at tIoU {errors.tiou:g}',
    fontsize=10, color=_INK, loc='left',
  )  # fmt: skip
  _plain(axes, 'y')
  axes.legend(
    loc='upper center', bbox_to_anchor=(0.5, -0.16), ncols=5, fontsize=8,
    frameon=False, handlelength=1.0, columnspacing=1.2,
  )  # fmt: skip


def _gains(axes, errors):
  names = list(errors.gains)[::-1]
  values = [errors.gains[name] for name in names]
  axes.barh(
    names, values, color=[_COLOURS[name] for name in names], height=0.62
  )
  for place, value in enumerate(values):
    axes.annotate(
      f'{value:+.3f}', (max(value, 0), place), xytext=(4, 0),
      textcoords='offset points', va='center', fontsize=8, color=_INK,
    )  # fmt: skip
  axes.set_xlim(min(0, *values), max(0.02, *values) * 1.25)
  axes.set_xlabel(f'mAP at tIoU {errors.tiou:g} gained without it', color=_INK)
  axes.set_title(
    f'{errors.missed} of {errors.num_instances} segments missed',
    fontsize=10, color=_INK, loc='left',
  )  # fmt: skip
  _plain(axes, 'x')


def _plain(axes, grid):
  axes.grid(axis=grid, color=_RULE, linewidth=0.6)
  axes.set_axisbelow(True)
  axes.spines[['top', 'right']].set_visible(False)


def _short(name: str) -> str:
  return name if len(name) <= 28 else f'{name[:27]}…'


def _save(figure: matplotlib.figure.Figure, path: str | os.PathLike) -> None:
  with replacing.path(path) as temporary:
    figure.savefig(temporary, format='png', dpi=150)
