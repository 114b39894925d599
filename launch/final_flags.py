"""Flags that limit ranked proposals to a final list."""

from absl import flags

MIN_SCORE = flags.DEFINE_float(
  'min_score', None, 'Proposals of lower scores are left out.'
)
BEST = flags.DEFINE_enum(
  'best', '', ['', 'f1'],
  'Choose the least score with the best F1 on the held-out videos of the run.',
)  # fmt: skip
BEST_TIOU = flags.DEFINE_float(
  'best_tiou', 0.5, 'tIoU with which a proposal is right, for --best.'
)
NON_OVERLAPPING = flags.DEFINE_bool(
  'non_overlapping', False, 'Leave out what overlaps a better proposal.'
)
MAX_PER_MINUTE = flags.DEFINE_float(
  'max_per_minute', 0.0,
  'Proposals a minute at most, on average over a video; 0: any number.',
)  # fmt: skip
NMS = flags.DEFINE_string(
  'nms', '',
  "Another NMS than the run's: soft, greedy, threshold, or with its settings "
  'greedy:greedy_tiou=.5.',
)  # fmt: skip


def limits():
  """The limits of lists where there is no run to choose them for.

  Raises:
    ValueError: of flags that cannot be, or that need a run.
  """
  from cmsn_jax.suppression import final_list

  for name, value in (('best', BEST.value), ('nms', NMS.value)):
    if value:
      raise ValueError(
        f'--{name}={value} needs a trained run: give it to launch.propose, '
        'and what that writes to this command'
      )
  settings = final_list.Settings(
    MIN_SCORE.value, NON_OVERLAPPING.value, MAX_PER_MINUTE.value
  )
  settings.check()
  return settings


def load(workdir, phase):
  """The run as the flags have it, and the limits of its lists.

  Raises:
    ValueError: of flags that cannot be, or no videos to choose on.
  """
  from cmsn_jax.suppression import final_list
  from cmsn_jax.training import final_choices

  settings = final_list.Settings(
    MIN_SCORE.value, NON_OVERLAPPING.value, MAX_PER_MINUTE.value
  )
  settings.check()
  if BEST.value and settings.min_score is not None:
    raise ValueError('--best chooses the least score: give it or --min_score')
  run = final_choices.load(workdir, phase, NMS.value)
  if BEST.value:
    point, where = final_choices.least_score(
      workdir, run, settings, stored=not NMS.value, tiou=BEST_TIOU.value
    )
    print(f'on {where}, {point}', flush=True)
    settings = settings._replace(min_score=point.min_score)
  return run, settings
