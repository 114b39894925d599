"""Rows of the ablation tables: name, and what changes.

Tables 1 (also 2 and 3, with other configs) and 4 to 6 are the paper's; 'decoder' is ours, of the same chain; 'plus' takes
the template chain apart, 'low_data' trains it on shares of the recordings.
"""

from typing import NamedTuple

from cmsn_jax.settings import default, plus


class Row(NamedTuple):
  """One row of a table.

  Attributes:
    name: of the row.
    changes: config keys of the run.
    at_inference: config keys that only inference sees otherwise.
  """

  name: str
  changes: dict[str, object]
  at_inference: dict[str, object] = {}


class Table(NamedTuple):
  """Rows of one chain.

  Attributes:
    chain: `config.chain` of all its runs.
    rows: from top to bottom.
    seeds: runs of each row, unless others are asked for.
  """

  chain: str
  rows: tuple[Row, ...]
  seeds: int = 1


# Rows of the paper without its evaluator, as in Tables 5 and 6.
_STAGES = {'evaluator.enabled': False}
# A row of the template chain changes one thing of a single member.
_MEMBER = {
  'template.members': 1,
  'template.student_steps': 0,
  'train.batch_per_device': 8,
}


def _plus(name, changes=None, **at_inference):
  return Row(name, {**_MEMBER, **(changes or {})}, at_inference)


def _augmented(times):
  windows = plus.apply(default.get_config()).windows
  keys = 'time_stretch', 'noise', 'scale', 'channel_drop'
  return {f'windows.{key}': times * windows[key] for key in keys}


def _margin(n, m):
  return Row(
    f'n={n} m={m}',
    {
      **_STAGES,
      'stages.loss': 'vmcl',
      'stages.margin_n': n,
      'stages.margin_m': m,
    },
  )


TABLES = {
  '1': Table(
    'paper',
    (
      Row('CMSN+Greedy-NMS', {}, {'nms.method': 'greedy'}),
      Row('CMSN+Soft-NMS', {}, {'nms.method': 'soft'}),
    ),
  ),
  '4': Table(
    'paper',
    (
      Row('without PES', _STAGES),
      Row('with PES', {}),
    ),
  ),
  '5': Table(
    'paper',
    (
      Row('softmax', {**_STAGES, 'stages.loss': 'softmax'}),
      Row('LMCL', {**_STAGES, 'stages.loss': 'lmcl'}),
      Row('VMCL', {**_STAGES, 'stages.loss': 'vmcl'}),
      Row('VMCL on angles', {**_STAGES, 'stages.loss': 'vmcl_arc'}),
    ),
  ),
  '6': Table(
    'paper',
    (
      _margin(0.1, 0.1),
      _margin(0.15, 0.1),
      _margin(0.18, 0.12),
      _margin(0.25, 0.8),
    ),
  ),
  'decoder': Table(
    'paper',
    (
      Row('arg-max', {}),
      Row('stage grammar', {'proposals.decoder': 'grammar'}),
    ),
  ),
  'plus': Table(
    'template',
    (
      _plus('one member'),
      _plus('borders count no further', **{'template.clear_weight': 0.0}),
      _plus('the short not doubted', **{'template.doubt_snippets': 0.0}),
      _plus('Soft-NMS', **{'nms.method': 'soft'}),
      _plus(
        'only the best are candidates',
        **{'template.different_per_snippet': 0.0},
      ),
      _plus(
        'candidates by their fit alone', **{'template.clear_candidates': 0.0}
      ),
      _plus(
        'snippets as they come',
        **{
          'template.slow_stages': 1.0,
          'template.slow_features': 1.0,
          'template.per_snippet': 2.4,
          'template.different_per_snippet': 1.6,
        },
      ),
      _plus('slow for the stages alone', **{'template.slow_features': 1.0}),
      _plus('borders not mended', **{'template.mend_per_snippet': 0.0}),
      _plus('standardised features', {'data.normal_scores': False}),
      _plus('without action labels', {'template.action_weight': 0.0}),
      _plus('proposals without labels', {'template.label_weight': 0.0}),
      _plus('stages weigh a quarter', {'template.stage_weight': 0.5}),
      _plus('no augmentation', _augmented(0)),
      _plus('twice the augmentation', _augmented(2)),
      _plus('without EMA', {'train.ema': 0.0}),
      _plus('softmax', {'stages.loss': 'softmax'}),
      _plus('scale 30, as the paper', {'stages.scale': 30.0}),
      Row('four members', {'template.student_steps': 0}),
      Row('their student, as shipped', {}),
      Row('of members that saw all videos', {'template.cross_fit': False}),
      Row(
        'it sees windows as often as it comes', {'template.student_epochs': 0}
      ),
    ),
  ),
  'low_data': Table(
    'template',
    (
      Row('a tenth', {'data.train_share': 0.1}),
      Row('a quarter', {'data.train_share': 0.25}),
      Row('all', {}),
    ),
    seeds=3,
  ),
}
