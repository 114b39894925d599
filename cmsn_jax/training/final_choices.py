"""What is chosen when a trained run is used: its NMS, and the least score.

Neither is part of training. What the choice needs of videos with ground truth
was kept with the run, or is computed again from its data.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections
from absl import logging

from cmsn_jax import segments
from cmsn_jax.chains import protocol, registry
from cmsn_jax.evaluation import operating_point
from cmsn_jax.runs import judged_lists, trained
from cmsn_jax.suppression import final_list
from cmsn_jax.training import config_checks, held_out


def nms_changes(text: str, config: ml_collections.ConfigDict) -> dict[str, Any]:
  """The config keys that `--nms` sets.

  Args:
    text: 'method', or 'method:key=value,...' with keys of `config.nms`; '':
      nothing.
    config: of the run.

  Raises:
    ValueError: on another key or value, or if the chain has no NMS.
  """
  if not text:
    return {}
  chain = registry.load(config.chain)
  if not protocol.covers(chain.AT_INFERENCE, 'nms.method'):
    raise ValueError(
      f'--nms={text}: the chain {config.chain!r} of this run has no NMS; '
      '--non_overlapping drops what overlaps a better proposal'
    )
  method, _, rest = text.partition(':')
  changes = {'nms.method': method}
  for item in filter(None, rest.split(',')):
    key, _, value = item.partition('=')
    if key not in config.nms or key == 'method':
      known = ', '.join(k for k in config.nms if k != 'method')
      raise ValueError(
        f'--nms={text}: no setting {key!r}; there are {known}, as in '
        '--nms=greedy:greedy_tiou=.5'
      )
    try:
      changes[f'nms.{key}'] = type(config.nms[key])(value)
    except ValueError:
      raise ValueError(
        f'--nms={text}: {key} must be a number, got {value!r}'
      ) from None
  changed = config.copy_and_resolve_references()
  changed.update_from_flattened_dict(changes)
  config_checks.check(changed)
  return changes


def load(
  workdir: pathlib.Path, phase: str | None = None, nms: str = ''
) -> trained.Trained:
  """A run with another NMS, calibrated for it where that is possible.

  Args:
    workdir: of a trained run.
    phase: see `trained.load`.
    nms: see `nms_changes`.

  Raises:
    ValueError: see `nms_changes` and `trained.load`.
  """
  plain = trained.load(workdir, phase)
  changes = nms_changes(nms, plain.config)
  if not changes:
    return plain
  changed = trained.load(workdir, phase, changes)
  if tuple(plain.config.calibration.given) == tuple(
    changed.config.calibration.given
  ):
    return changed
  # The run's calibration was of the scores that its own NMS left.
  try:
    data = _data(changed.config, workdir)
    fitted = held_out.fit_calibration(
      data, held_out.predictions(data, changed.predictor)
    )
  except (ValueError, OSError) as error:
    logging.warning(
      'with another NMS the scores are not calibrated: the held-out videos '
      'cannot be read (%s)', error,
    )  # fmt: skip
    return changed
  if fitted is None:
    return changed
  logging.info(
    'calibrated anew for the changed NMS, on %d held-out videos',
    len(data.held_out),
  )
  return trained.load(
    workdir, phase, {**changes, 'calibration.given': tuple(fitted)}
  )


def least_score(
  workdir: pathlib.Path,
  run: trained.Trained,
  settings: final_list.Settings,
  *,
  stored: bool,
  tiou: float = 0.5,
) -> tuple[operating_point.OperatingPoint, str]:
  """The least score with the best F1 on videos that were not learned from.

  Args:
    workdir: of the run.
    run: as it is used.
    settings: other limits of the list, which count in the choice.
    stored: the run proposes as when it was trained, so that the lists that
      were kept then are those to choose on.
    tiou: with which a proposal is right.

  Returns:
    the choice, and on which videos.

  Raises:
    ValueError: if there are no such videos, or nothing is right in them.
  """
  known = None
  if stored:
    known = judged_lists.read(workdir / run.phase, run.step)
  if known is None:
    known = 'held-out', _judge_again(workdir, run)
  kind, videos = known
  if not videos:
    raise ValueError(
      f'{workdir} has no held-out videos, on which a score could be chosen; '
      'give --min_score, or train with --config.data.holdout=0.2, or with '
      'launch.cross_validate'
    )
  point = operating_point.best_f1(
    [_limited(video, settings) for video in videos.values()], tiou
  )
  where = f'{len(videos)} {kind} videos'
  if point is None:
    raise ValueError(
      f'on the {where} of {workdir} no proposal reaches tIoU {tiou:g} with an '
      'instance; give --min_score, or a lower --best_tiou'
    )
  return point, where


def _judge_again(workdir, run) -> Mapping[str, judged_lists.Judged]:
  try:
    data = _data(run.config, workdir)
  except (ValueError, OSError) as error:
    raise ValueError(
      f'{workdir} kept no lists of held-out videos that fit, and its data '
      f'cannot be read again ({error}); give --min_score'
    ) from error
  if not data.held_out:
    return {}
  logging.info('proposing for the %d held-out videos', len(data.held_out))
  return held_out.judged(data, held_out.predictions(data, run.predictor))


def _limited(video, settings):
  found = video.proposals
  kept = final_list.select(
    found.segments, found.scores, video.duration_sec, settings
  )
  # What is proposed where nobody looked is neither right nor wrong.
  kept = kept[~segments.mostly_within(found.segments[kept], video.unknown)]
  return operating_point.Video(
    found.segments[kept], found.scores[kept], video.instances
  )


def _data(config, workdir):
  """What a run was trained on."""
  # What trains takes a second to import, which only those wait for who need it.
  from cmsn_jax.training import setup

  return setup.open_run(config, workdir)[1]
