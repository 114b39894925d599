"""Config values that can be checked before anything is read or written."""

import ml_collections
import numpy as np

from cmsn_jax.chains import protocol, registry
from cmsn_jax.settings import default, recipes

_CHOICES = {
  'data.input': ('features', 'video'),
  'extractor.channel_order': ('rgb', 'bgr'),
  'stages.label_rule': ('centre', 'majority'),
  'stages.loss': ('softmax', 'lmcl', 'vmcl', 'vmcl_arc'),
  'stages.margin_form': ('worked_example', 'equation_7'),
  'proposals.decoder': ('argmax', 'grammar'),
  'proposals.required_rule': ('any', 'all'),
  'proposals.stitch': ('pool', 'average'),
  'nms.method': ('soft', 'greedy', 'none', 'threshold'),
  'train.optimizer': ('adam', 'adamw', 'sgd'),
  'train.schedule': ('constant', 'cosine'),
  'train.dtype': ('float32', 'bfloat16'),
  'evaluation.protocol': ('thumos', 'anet', 'top_k'),
}
_AT_LEAST = {
  'windows.length': 2,
  'data.pool': 0,
  'train.batch_per_device': 1,
  'train.accumulate': 1,
  'train.stages_epochs': 1,
  'train.evaluator_epochs': 1,
  'train.log_every_steps': 1,
  'train.eval_every_epochs': 1,
  'evaluator.roi_bins': 1,
  'evaluator.max_rois': 3,
  'template.members': 1,
  'template.steps': 1,
  'template.student_steps': 0,
  'template.student_windows': 1,
  'template.student_epochs': 0,
  'template.evaluations': 1,
  'template.action_weight': 0.0,
  'template.num_actions': 0,
  'template.clear_weight': 0.0,
  'template.border_error': 0.0,
  'template.temper': 0.0,
  'template.doubt_snippets': 0.0,
  'template.mend_per_snippet': -1.0,
  'template.clear_candidates': 0.0,
  'template.per_snippet': 0.0,
  'template.different_per_snippet': -1.0,
  'template.keep_per_snippet': 0.0,
  'template.most_per_snippet': 0.0,
  'template.most_at_least': 0,
  'template.max_window': 0,
  'template.typical_duration': 0.0,
  'template.stage_weight': 0.0,
  'template.match_weight': 0.0,
  'template.offset_weight': 0.0,
  'template.width': 1,
  'template.pooled_width': 1,
  'template.hidden': 1,
  'template.proposals': 1,
  'bmn.samples': 2,
  'bmn.context': 0.0,
  'bmn.shrink': 1,
  'bmn.max_durations': 2,
  'bmn.max_window': 0,
  'bmn.steps': 1,
  'bmn.evaluations': 1,
  'bmn.per_snippet': 0.0,
  'stages.width': 1,
  'stages.lstm_width': 1,
  'stages.lstm_layers': 1,
  'stages.lmcl_margin': 0.0,
  'stages.margin_m': 0.0,
  'stages.margin_n': 0.0,
  'evaluator.hidden': 1,
  'proposals.decay_rate': 0.0,
  'proposals.max_candidates': 0,
  'nms.max_proposals': 0,
  'train.weight_decay': 0.0,
  'train.warmup_steps': 0,
  'train.clip_norm': 0.0,
  'train.checkpoint_every_sec': 0.0,
  'train.checkpoint_every_steps': 0,
  'data.feature_fps': 0.0,
  'data.fill_gaps_sec': 0.0,
}
_ABOVE = {
  'nms.sigma': 0.0,
  'stages.scale': 0.0,
  'train.learning_rate': 0.0,
  'data.target_snippets': 0.0,
  'video.fps': 0.0,
}
# Least, most, and whether the most may be reached.
_WITHIN = {
  'data.holdout': (0, 0.5, True),
  'data.train_share': (0, 1, True),
  'windows.overlap': (0, 1, False),
  'windows.jitter': (0, 1, True),
  'windows.channel_drop': (0, 1, False),
  'windows.time_stretch': (0, 3, False),
  'windows.noise': (0, 3, False),
  'windows.scale': (0, 3, False),
  'stages.dropout': (0, 1, False),
  'template.dropout': (0, 1, False),
  'evaluator.dropout': (0, 1, False),
  'nms.threshold': (0, 1, True),
  'nms.greedy_tiou': (0, 1, True),
  'train.momentum': (0, 1, False),
  'train.ema': (0, 1, False),
}


def check(config: ml_collections.ConfigDict) -> None:
  """Checks what needs no data.

  Raises:
    ValueError: listing every value that cannot be.
  """
  flat = recipes.flat(config)
  problems = [
    f'config.{key} must be one of {", ".join(choices)}, got {flat[key]!r}'
    for key, choices in _CHOICES.items()
    if key in flat and flat[key] not in choices
  ]
  problems += [
    f'config.{key} must be at least {least}, got {flat[key]}'
    for key, least in _AT_LEAST.items()
    if key in flat and not flat[key] >= least
  ]
  problems += [
    f'config.{key} must be above {least:g}, got {flat[key]}'
    for key, least in _ABOVE.items()
    if key in flat and not flat[key] > least
  ]
  problems += [
    f'config.{key} must be within [{low}, {high}{"]" if closed else ")"}, got '
    f'{flat[key]}'
    for key, (low, high, closed) in _WITHIN.items()
    if key in flat
    and not (low <= flat[key] < high or (closed and flat[key] == high))
  ]
  problems += _calibration(flat['calibration.given'])
  ans, best = flat['evaluation.ans'], flat['evaluation.best_ans']
  if not best or not set(best) <= set(ans):
    problems.append(
      f'config.evaluation.best_ans must be among evaluation.ans {tuple(ans)}, '
      f'got {tuple(best)}'
    )
  chain = registry.load(config.chain)
  problems += chain.problems(config) + _unread(config.chain, chain, flat)
  if problems:
    raise ValueError('; '.join(problems))


def check_phase(config: ml_collections.ConfigDict, phase: str) -> None:
  """Checks that a phase is 'all' or one of the chain's.

  Raises:
    ValueError: if not.
  """
  names = registry.load(config.chain).phases(config)
  if phase not in ('all', *names):
    raise ValueError(
      f'--phase={phase}: the chain {config.chain!r} has the '
      f'phase{"" if len(names) == 1 else "s"} {", ".join(names)} here; leave '
      '--phase out to train all there is'
    )


def _unread(name, chain, flat):
  """Keys that were changed and that nothing reads."""
  known = recipes.flat(default.get_config())
  reads = (*protocol.SHARED, *chain.READS)
  return [
    f'config.{key} has no effect in the chain {name!r}'
    for key, value in flat.items()
    if not protocol.covers(reads, key)
    and (key not in known or value != known[key])
  ]


def _calibration(value):
  if value == () or (
    len(value) == 2 and np.isfinite(value).all() and value[0] > 0
  ):
    return []
  return [
    'config.calibration.given must be () or a slope above 0 and an offset, got '
    f'{tuple(value)}'
  ]
