"""Rows of the ablation tables: name, what changes, and the phase evaluated.

Tables 4 to 6 are the paper's; 'plus' takes the template chain apart.
"""

from typing import NamedTuple


class Row(NamedTuple):
  """One row: its name, changed config keys, and the phase it is taken from."""

  name: str
  changes: dict[str, object]
  phase: str = 'stages'


def _margin(n, m):
  return Row(
    f'n={n} m={m}',
    {'stages.loss': 'vmcl', 'stages.margin_n': n, 'stages.margin_m': m},
  )


TABLES = {
  '4': (
    Row('without PES', {}),
    Row('with PES', {}, phase='evaluator'),
  ),
  '5': (
    Row('softmax', {'stages.loss': 'softmax'}),
    Row('LMCL', {'stages.loss': 'lmcl'}),
    Row('VMCL', {'stages.loss': 'vmcl'}),
    Row('VMCL on angles', {'stages.loss': 'vmcl_arc'}),
  ),
  '6': (
    _margin(0.1, 0.1),
    _margin(0.15, 0.1),
    _margin(0.18, 0.12),
    _margin(0.25, 0.8),
  ),
  'plus': (
    Row('as configured', {}, phase='joint'),
    Row(
      'one member',
      {'joint.members': 1, 'train.batch_per_device': 8},
      phase='joint',
    ),
    Row('softmax', {'stages.loss': 'softmax'}, phase='joint'),
    Row('Soft-NMS', {'nms.method': 'soft'}, phase='joint'),
    Row(
      'no augmentation',
      {
        'windows.time_stretch': 0.0,
        'windows.noise': 0.0,
        'windows.scale': 0.0,
        'windows.channel_drop': 0.0,
      },
      phase='joint',
    ),
  ),
}
