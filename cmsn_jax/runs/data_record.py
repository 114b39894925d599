"""What a run was trained on, known by its contents and not by its path.

`<workdir>/data.json` holds a short hash of each recording, so that what changed
can be named.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from cmsn_jax.data import training_data
from cmsn_jax.files import replacing
from cmsn_jax.runs import config_record

# Config keys that say where the data lie.
PATHS = ('data.annotations', 'data.features', 'data.videos')

_NAME = 'data.json'
_SHOWN = 3
# Of a feature's deviation: what another machine's sums differ by is far less.
_SAME = 1e-2
# Of a number of five digits.
_ROUNDED = 1e-4


def describe(data: training_data.TrainingData) -> dict[str, Any]:
  """Ids, segments, labels, lengths, width, rate and values, as JSON values."""
  source = data.source
  found = {
    'feature_fps': source.feature_fps,
    'snippet_shape': list(source.snippet_shape),
    'offset_sec': float(getattr(source, 'offset_sec', 0.0)),
    'train': _hashes(data.train, source),
    'held_out': _hashes(data.held_out, source),
  }
  statistics = getattr(source, 'statistics', None)
  if statistics is not None:
    # Five digits: what two machines compute differs in the seventh.
    found['values'] = [
      [float(f'{x:.5g}') for x in one]
      for one in (statistics.mean, statistics.std)
    ]
  return found


def claim(workdir: pathlib.Path, data: training_data.TrainingData) -> bool:
  """Checks the data against those that a begun run knows, and writes them.

  Args:
    workdir: of the run.
    data: what it is to be trained on.

  Returns:
    whether they were known and are the same: then their paths may differ.

  Raises:
    config_record.RunFolderError: if they are others, saying what changed and
      what can be done.
  """
  path, now = workdir / _NAME, describe(data)
  known = False
  if path.is_file() and config_record.begun(workdir):
    changes = differences(json.loads(path.read_text()), now)
    if changes:
      raise config_record.RunFolderError(
        f'{workdir} was trained on other data: {"; ".join(changes)}. Give it '
        'the data that it was begun with; or train on these from what was '
        f'learned, --init_from={workdir} with another --workdir; or from the '
        'beginning, with another --workdir'
      )
    known = True
  if jax.process_index() == 0:
    with replacing.file(path) as file:
      json.dump(now, file, indent=1)
  return known


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
  """What changed between two `describe`s, a phrase each; [] if nothing did."""
  found = []
  for key, text in (('feature_fps', 'snippets a second'),
                    ('snippet_shape', 'numbers a snippet')):  # fmt: skip
    if old[key] != new[key]:
      found.append(f'{text}: {_plain(old[key])} -> {_plain(new[key])}')
  before, after = (one.get('offset_sec', 0.0) for one in (old, new))
  if 'offset_sec' in old and not np.isclose(before, after):
    found.append(f'seconds before the first snippet: {before:g} -> {after:g}')
  for part, text in (('train', 'training'), ('held_out', 'held-out')):
    before, after = old[part], new[part]
    added = [name for name in after if name not in before]
    gone = [name for name in before if name not in after]
    both = [name for name in after if name in before]
    labels = [n for n in both if before[n][0] != after[n][0]]
    lengths = [n for n in both if before[n][1] != after[n][1]]
    for names, what in (
      (added, 'new'),
      (gone, 'missing'),
      (labels, 'with other annotations'),
      (lengths, 'of another length'),
    ):
      if names:
        found.append(
          f'{len(names)} {text} recordings {what} ({_some(sorted(names))})'
        )
  return found or _other_values(old.get('values'), new.get('values'))


def _other_values(old, new):
  """Features whose mean or deviation in the training recordings is another.

  Asked last: other recordings have others.
  """
  if old is None or new is None:
    return []
  (mean, std), (now, spread) = np.array(old), np.array(new)
  least = _SAME * np.minimum(std, spread) + _ROUNDED * np.abs(mean)
  other = np.flatnonzero(
    (np.abs(now - mean) > least) | (np.abs(spread - std) > least)
  )
  if not len(other):
    return []
  return [
    f'{len(other)} of {len(mean)} features have other values '
    f'(columns {_some(list(map(str, other)))} from 0)'
  ]


def _hashes(videos, source):
  """Id -> (hash of its annotations, its snippets)."""
  return {
    name: [
      hashlib.sha256(json.dumps(_said(video)).encode()).hexdigest()[:12],
      int(source.num_snippets(name)),
    ]
    for name, video in sorted(videos.items())
  }


def _said(video):
  """What the annotations say of a recording."""
  found = [video.segments.tolist(), list(video.labels)]
  # Not where there are none, as runs of before knew no such spans.
  return [*found, video.ignore.tolist()] if len(video.ignore) else found


def _plain(value):
  return ' x '.join(map(str, value)) if isinstance(value, list) else value


def _some(names):
  more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
  return ', '.join(names[:_SHOWN]) + more
