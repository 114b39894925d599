"""What a cross-validation found, as a table."""

from collections.abc import Mapping, Sequence

import ml_collections
import numpy as np

from cmsn_jax.training import cross_validation

_LABELS = {'map': 'mAP', 'label_accuracy': 'label accuracy'}


def table(
  config: ml_collections.ConfigDict,
  folds: Sequence[cross_validation.Fold],
  whole: Mapping[int | str, float | None] | None = None,
) -> str:
  """AR of each fold, their mean and spread, and of all together.

  Beside it, where proposals have labels, mAP (tIoU .3 to .7) and the share of
  instances whose closest proposal has their label.

  Args:
    config: of the runs, for protocol and ANs.
    folds: done so far.
    whole: of all recordings together, if known.
  """
  ans = tuple(config.evaluation.ans)
  known = [{**fold.ar_at_an, **fold.labels} for fold in folds]
  labels = [k for k in _LABELS if any(k in values for values in known)]
  columns = [*ans, *labels]
  rows = [[
    'fold', 'groups', 'recordings', 'instances', *(f'AR@{an}' for an in ans),
    *(_LABELS[name] for name in labels),
  ]]  # fmt: skip
  for fold, values in zip(folds, known):
    instances = sum(len(v.segments) for v in fold.videos.values())
    rows.append([
      f'{fold.number}', f'{len(fold.groups)}', f'{len(fold.videos)}',
      f'{instances}', *(_shown(values.get(name)) for name in columns),
    ])  # fmt: skip
  cells = []
  for name in columns:
    found = [values.get(name) for values in known]
    found = [value for value in found if value is not None]
    cells.append(f'{np.mean(found):.3f} ±{np.std(found):.3f}' if found else '-')
  if len(folds) > 1:
    rows.append(['mean', '', '', '', *cells])
  if whole is not None:
    found = [_shown(whole.get(name)) for name in columns]
    rows.append(['all', '', '', '', *found])
  lines = ['| ' + ' | '.join(row) + ' |' for row in rows]
  lines.insert(1, '|---' * len(rows[0]) + '|')
  return '\n'.join([
    f'{config.evaluation.protocol}, out of fold (±: standard deviation over '
    'the folds)',
    *lines,
  ])  # fmt: skip


def _shown(value):
  return '-' if value is None else f'{value:.3f}'
