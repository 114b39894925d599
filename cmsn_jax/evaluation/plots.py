"""Curves of the metrics, as the paper's Fig. 5-8."""

import os
from collections.abc import Sequence

import matplotlib.figure
import numpy as np

from cmsn_jax.evaluation import metrics as metrics_lib
from cmsn_jax.files import replacing

_INK, _RULE = '#1c2733', '#d9dee4'
_LINE = '#0072b2'


def ar_an_curve(metrics: metrics_lib.Metrics, path: str | os.PathLike) -> None:
  """Draws average recall against the average number of proposals.

  Args:
    metrics: of one set of proposals.
    path: the PNG; replaced at once.
  """
  figure, axes = _axes(
    'Average number of proposals per video (AN)',
    f'Average recall (AR), {len(metrics.tiou_thresholds)} tIoU thresholds',
    metrics,
  )
  if len(metrics.curve_an):
    axes.plot(
      np.append(0.0, metrics.curve_an),
      np.append(0.0, metrics.curve_ar),
      color=_LINE,
      linewidth=1.8,
    )
    axes.set_xlim(0, metrics.curve_an[-1])
  _mark(axes, metrics)
  _save(figure, path)


def recall_tiou_curve(
  metrics: metrics_lib.Metrics, path: str | os.PathLike
) -> None:
  """Draws recall against tIoU at one number of proposals (AN 100, if any).

  Args:
    metrics: of one set of proposals.
    path: the PNG; replaced at once.
  """
  an = '-' if metrics.recall_an is None else f'{metrics.recall_an:g}'
  figure, axes = _axes('tIoU', f'Recall at AN = {an}', metrics)
  points = [
    (tiou, recall)
    for tiou, recall in metrics.recall_at_tiou.items()
    if recall is not None
  ]
  if points:
    axes.plot(*zip(*points), color=_LINE, linewidth=1.8, marker='o', ms=4)
  _save(figure, path)


def _axes(x_label: str, y_label: str, metrics: metrics_lib.Metrics):
  figure = matplotlib.figure.Figure(figsize=(6.4, 4.4), layout='constrained')
  axes = figure.subplots()
  axes.set_xlabel(x_label, color=_INK)
  axes.set_ylabel(y_label, color=_INK)
  axes.set_ylim(0, 1)
  axes.set_title(
    f'{metrics.protocol} protocol: {metrics.num_videos} videos, '
    f'{metrics.num_ground_truth} segments',
    fontsize=10,
    color=_INK,
    loc='left',
  )
  axes.grid(color=_RULE, linewidth=0.6)
  axes.set_axisbelow(True)
  axes.spines[['top', 'right']].set_visible(False)
  return figure, axes


def _mark(axes, metrics: metrics_lib.Metrics) -> None:
  """Dots and values at the requested ANs."""
  last = metrics.curve_an[-1] if len(metrics.curve_an) else 0.0
  shown: Sequence = [
    (an, ar)
    for an, ar in metrics.ar_at_an.items()
    if ar is not None and an <= last
  ]
  for an, ar in shown:
    axes.plot([an], [ar], color=_LINE, marker='o', ms=4)
    axes.annotate(
      f'{ar:.3f}',
      (an, ar),
      xytext=(0, 6),
      textcoords='offset points',
      fontsize=8,
      ha='right',
      color=_INK,
    )


def _save(figure: matplotlib.figure.Figure, path: str | os.PathLike) -> None:
  with replacing.path(path) as temporary:
    figure.savefig(temporary, format='png', dpi=150)
