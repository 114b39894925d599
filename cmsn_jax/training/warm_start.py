"""The first parameters of a run, taken by name from an earlier one.

Everything else is the new run's own: its data and their statistics, its rate,
windows, steps and settings.
"""

import json
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.serialization
import flax.traverse_util
import jax
import numpy as np
from absl import logging

from cmsn_jax.chains import protocol
from cmsn_jax.files import replacing
from cmsn_jax.runs import (
  checkpoints,
  config_record,
  exported_parameters,
  folder,
)

_SHOWN = 12


class Fit(NamedTuple):
  """Parameters, and where each of them comes from.

  Attributes:
    params: the tree of the new run.
    taken: paths of the earlier run's parameters.
    fresh: path -> why it is as `init` made it.
  """

  params: Any
  taken: tuple[str, ...]
  fresh: dict[str, str]


def fit(
  params: Any,
  bundle: Callable[[Any], dict[str, Any]],
  earlier: dict[str, Any],
  stacked_axes: int = 0,
) -> Fit:
  """Puts an earlier bundle's parameters in the place of those of equal name.

  Where only the number of stacked networks differs, the earlier ones are taken
  in turn.

  Args:
    params: first parameters of a phase, on the host.
    bundle: of the phase, see `protocol.Phase.bundle`; says under which name a
      parameter is kept.
    earlier: the bundle of the earlier run, as `folder.read_best` gives it.
    stacked_axes: see `protocol.Phase.stacked_axes`.
  """
  state = flax.serialization.to_state_dict(params)
  flat = flax.traverse_util.flatten_dict(state, sep='/')
  kept_as = {id(leaf): path for path, leaf in _flat(bundle(params)).items()}
  found = _flat(earlier)
  result, taken, fresh = dict(flat), [], {}
  for path, leaf in flat.items():
    name = kept_as.get(id(leaf), path)
    if name not in found:
      fresh[path] = 'not there'
      continue
    value = _of_networks(found[name], leaf.shape, stacked_axes)
    if value.shape != leaf.shape:
      fresh[path] = f'{_shape(leaf)}, there {_shape(found[name])}'
      continue
    result[path] = np.array(value, leaf.dtype)
    taken.append(path)
  state = flax.traverse_util.unflatten_dict(result, sep='/')
  params = flax.serialization.from_state_dict(params, state)
  return Fit(params, tuple(taken), fresh)


def check(init_from: str, workdir: pathlib.Path) -> None:
  """Checks that a run can begin with the parameters of another.

  Args:
    init_from: the earlier run's folder, or an export's.
    workdir: of the new run.

  Raises:
    ValueError: if there is no folder of a trained run, or it is the same.
    config_record.RunFolderError: see `exported_parameters.check`.
  """
  path = pathlib.Path(init_from)
  if not path.is_dir():
    raise ValueError(
      f'--init_from={init_from} is no folder; give the --workdir of a trained '
      'run, or its export'
    )
  if path.resolve() == workdir.resolve():
    raise ValueError(
      f'--init_from={init_from} is the --workdir itself: the same command '
      'without --init_from goes on with it; a warm start needs a new --workdir'
    )
  if exported_parameters.is_export(path):
    exported_parameters.check(path)
    return
  if not any(path.glob('*/best/[0-9]*')):
    raise ValueError(
      f'--init_from={init_from} holds no trained run (no */best/ with '
      'parameters); give the --workdir of one whose launch.train came to an '
      'evaluation'
    )


def begin(
  phase: protocol.Phase,
  params: Any,
  init_from: str,
  workdir: pathlib.Path,
  frozen: Sequence[str],
  feature_fps: float,
) -> Any:
  """A phase's first parameters from an earlier run; says what begins anew.

  What was taken is written to `<workdir>/<phase>/init_from.json`.

  Args:
    phase: that begins.
    params: as its `init` made them, on the host.
    init_from: the earlier run's folder, or an export's.
    workdir: of the new run.
    frozen: `train.frozen`.
    feature_fps: snippets a second of the new run.

  Raises:
    ValueError: if nothing of the earlier run fits, or what is to stay frozen
      is not there; see `check` too.
  """
  check(init_from, workdir)
  found = _kept(pathlib.Path(init_from), phase.name)
  earlier = found.tree['params']
  fitted = fit(params, phase.bundle, earlier, phase.stacked_axes)
  fresh = [f'{path} ({why})' for path, why in fitted.fresh.items()]
  if not fitted.taken and not _shares(phase.bundle(params), earlier):
    raise ValueError(
      f'--init_from={init_from}: none of its parameters fits phase '
      f'{phase.name!r} of this config (chain '
      f'{_chain_of(found)!r} there): {_some(fresh)}. Give the '
      'config that it was trained with, or train from scratch'
    )
  random = [
    line
    for line, path in zip(fresh, fitted.fresh)
    if any(re.search(pattern, path) for pattern in frozen)
  ]
  if random:
    raise ValueError(
      f'train.frozen would keep parameters at random values that '
      f'{init_from} cannot give: {_some(random)}. Freeze others, e.g. deeper '
      'layers only'
    )
  logging.info(
    '%s: begins with %d of %d parameter arrays of %s (phase %s, step %d)%s',
    phase.name, len(fitted.taken), len(fitted.taken) + len(fresh), init_from,
    found.meta['phase'], found.step,
    f'; begin anew: {_some(fresh)}' if fresh else '',
  )  # fmt: skip
  rate = found.meta.get('data', {}).get('feature_fps')
  if rate and not np.isclose(rate, feature_fps, rtol=0.01):
    logging.warning(
      '%s learned from %.4g snippets a second, this run has %.4g: what it knows '
      'of durations is off by as much; --config.data.pool and data.feature_fps '
      'set the rate', init_from, rate, feature_fps,
    )  # fmt: skip
  _record(workdir / phase.name, init_from, found, fitted)
  return fitted.params


def _kept(path, phase):
  """Of the phase of that name, or of the last one."""
  if exported_parameters.is_export(path):
    return exported_parameters.read(path)
  # A later phase may keep less: a student of several networks, say.
  own = any((path / phase / 'best').glob('[0-9]*'))
  return folder.read_best(path, phase if own else None)


def _record(directory, init_from, found, fitted):
  if jax.process_index():
    return
  with replacing.file(directory / 'init_from.json') as file:
    json.dump(
      {
        'run': init_from,
        'phase': found.meta['phase'],
        'step': found.step,
        'parameters_crc32': checkpoints.checksums(_flat(found.tree['params'])),
        'taken': fitted.taken,
        'begin_anew': fitted.fresh,
      },
      file,
      indent=1,
    )


def _chain_of(found):
  return config_record.from_json(found.meta['config']).chain


def _flat(tree):
  state = flax.serialization.to_state_dict(tree)
  return flax.traverse_util.flatten_dict(state, sep='/')


def _shares(bundle, earlier):
  """Whether another part of a bundle comes from the same kind of network."""
  found = _flat(earlier)
  return any(
    path in found and found[path].shape == np.shape(leaf)
    for path, leaf in _flat(bundle).items()
  )


def _of_networks(value, shape, stacked_axes):
  """As many stacked networks as are wanted, taken in turn."""
  if value.shape[stacked_axes:] != shape[stacked_axes:]:
    return value
  for axis in range(min(stacked_axes, value.ndim)):
    value = np.take(
      value, np.arange(shape[axis]) % value.shape[axis], axis=axis
    )
  return value


def _shape(leaf):
  return 'x'.join(map(str, leaf.shape)) or 'one number'


def _some(lines):
  more = len(lines) - _SHOWN
  return ', '.join(lines[:_SHOWN]) + (f' and {more} more' if more > 0 else '')
