"""Do features and annotations belong together? Lengths, values, what is odd."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cmsn_jax.data import feature_timing
from cmsn_jax.files import feature_files, feature_rates, json_files

_BLOCK = 1 << 16
_MAX_SHOWN = 20
# As `constant` features after float32 and a mean over many rows.
_SAME = 1e-7


@dataclasses.dataclass(frozen=True)
class Found:
  """What was read of the features of some videos.

  Attributes:
    num_rows: by video id.
    dim: values a row.
    computed: every duration is exactly rows / rate, as if computed from them.
    rescaled: rows have no rate, so that there was nothing to check.
    constant: columns that have one value in all rows of all videos.
  """

  num_rows: dict[str, int]
  dim: int
  computed: bool
  rescaled: bool = False
  constant: tuple[int, ...] = ()

  def lines(self) -> list[str]:
    """What there is to say, for reading."""
    lines = [
      f'features: {len(self.num_rows)} recordings read, {self.dim} values a '
      'snippet, all of them finite'
    ]
    if self.rescaled:
      lines[0] += '; stretched to one length, which fits any duration'
    elif not self.computed:
      lines[0] += '; lengths fit the durations'
    else:
      lines.append(
        'every duration is exactly rows / rate: if durations were computed from '
        'these features and the rate, nothing was checked, and the rate may be '
        'wrong; durations that were measured (--durations=videos/, or a table) '
        'would show it'
      )
      lines.extend(odd_shapes(self.num_rows, self.dim))
    if self.constant:
      named = ', '.join(map(str, self.constant[:10]))
      more = ' ...' if len(self.constant) > 10 else ''
      lines.append(
        f'{len(self.constant)} of {self.dim} features never change (columns '
        f'{named}{more} from 0): '
        + (
          'nothing can be learned from them'
          if len(self.constant) == self.dim
          else 'they tell nothing'
        )
      )
    return lines


def check(
  store: Any,
  durations: Mapping[str, float | int],
  timing: feature_timing.Timing,
  *,
  from_video: bool = False,
  values: bool = False,
) -> Found:
  """Checks that videos have features, of their length, that can be learned from.

  Args:
    store: features of the videos.
    durations: seconds by video id: which videos.
    timing: how their rows lie in time.
    from_video: whether the features were made from frames, every so many.
    values: read all values too, not the headers only.
  Raises:
    FeatureFileError: with every problem: missing, damaged, another width,
      another length than the video's, values that are not finite; and with
      what would explain them.
  """
  rows, problems = {}, []
  for video_id in durations:
    try:
      rows[video_id] = store.num_snippets(video_id)
    except (ValueError, OSError) as problem:
      problems.append(str(problem))
  lowest = highest = None
  for video_id in rows if values else ():
    try:
      low, high = _range(store, video_id)
    except (ValueError, OSError) as problem:
      problems.append(str(problem))
      continue
    lowest = low if lowest is None else np.minimum(lowest, low)
    highest = high if highest is None else np.maximum(highest, high)
  hints = []
  if not timing.rescaled:
    found, hints = _misfits(rows, durations, timing.of, store.dim, from_video)
    problems += found
  _raise(store.path, problems, len(durations), hints)
  constant = ()
  if lowest is not None:
    scale = np.maximum(np.abs(highest), np.abs(lowest))
    constant = tuple(np.flatnonzero(highest - lowest <= _SAME * scale).tolist())
  if not timing.rescaled:
    lost = _lost(rows, durations, timing.of)
    if len(rows) > 2 and lost.min() > 1 and np.ptp(lost) <= 1:
      warnings.warn(
        f'{store.path}: {_of_windows(lost)}',
        feature_files.FeatureFileWarning,
        stacklevel=2,
      )
  if timing.rescaled:
    return Found(rows, store.dim, False, True, constant)
  computed = _computed(rows, durations, timing.of)
  return Found(rows, store.dim, computed, False, constant)


def check_lengths(
  num_rows: Mapping[str, int],
  durations: Mapping[str, float | int],
  grid: feature_rates.Grid,
  where: str,
) -> None:
  """The same of the lengths of snippets that were made from frames here.

  Raises:
    FeatureFileError: with every video that is not as long as it should be.
  """
  found = _mismatches(num_rows, durations, lambda _: grid)
  # No rate explains these: frames are counted in the files themselves.
  remedy = (
    'the files are not as long as annotated: cut off, then --allow_damage '
    'takes what is there; or the durations are wrong, then '
    'launch.convert_annotations --durations= with the folder of the videos'
  )
  _raise(where, list(found.values()), len(num_rows), [remedy])


def _raise(where, problems, total, hints) -> None:
  if not problems:
    return
  shown = [f'  {problem}' for problem in problems[:_MAX_SHOWN]]
  if len(problems) > _MAX_SHOWN:
    shown.append(f'  … and {len(problems) - _MAX_SHOWN} more')
  count = json_files.problems_found(len(problems))
  raise feature_files.FeatureFileError(
    '\n'.join([f'{where}: {count} in {total} videos', *shown, *hints])
  )


def _mismatches(num_rows, durations, grid) -> dict[str, str]:
  """What is wrong with the length of each video's rows, where something is."""
  found = {
    video_id: feature_rates.mismatch(
      video_id, rows, durations[video_id], grid(video_id)
    )
    for video_id, rows in num_rows.items()
  }
  return {video_id: problem for video_id, problem in found.items() if problem}


def _misfits(
  num_rows: Mapping[str, int],
  durations: Mapping[str, float | int],
  grid: Callable[[str], feature_rates.Grid],
  dim: int,
  from_video: bool,
) -> tuple[list[str], list[str]]:
  """Videos whose rows are not as long as they are, and what explains all.

  Args:
    num_rows: by video id.
    durations: seconds by video id.
    grid: how a video's rows lie in time.
    dim: values a row; 0: not known.
    from_video: see `check`.
  """
  found = _mismatches(num_rows, durations, grid)
  if not found:
    return [], []
  hints = _explanations(num_rows, dim, durations, grid, list(found))
  if not hints:
    # A rate is no remedy where something else explains all of them.
    for video_id in found:
      found[video_id] += '; ' + feature_rates.advice(
        num_rows[video_id], durations[video_id], grid(video_id), from_video
      )
  return list(found.values()), hints


def _range(store, video_id):
  total = store.num_snippets(video_id)
  low, high = np.full(store.dim, np.inf), np.full(store.dim, -np.inf)
  for start in range(0, total, _BLOCK):
    block = store.read(video_id, start, min(start + _BLOCK, total))
    low = np.minimum(low, block.min(axis=0))
    high = np.maximum(high, block.max(axis=0))
  return low, high


def _computed(rows, durations, grid) -> bool:
  """Whether all durations are rows / rate, to the last digit."""
  return bool(rows) and all(
    abs(durations[k] - rows[k] / grid(k).feature_fps) <= 1e-6 * durations[k]
    for k in rows
  )


def odd_shapes(num_rows: Mapping[str, int], dim: int) -> list[str]:
  """What the shapes alone suggest; nothing where they are as usual."""
  lengths = set(num_rows.values())
  if len(num_rows) < 2:
    return []
  lines = []
  if len(lengths) == 1:
    lines.append(
      f'all {len(num_rows)} recordings have exactly {lengths.pop()} rows. If '
      'they are not equally long, they were stretched to that number '
      '(--config.data.rescaled=True), or the arrays are stored [D, T]: then '
      + feature_files.TRANSPOSE
    )
  elif max(lengths) < dim:
    lines.append(
      f'every recording has fewer rows than values a row ({dim}): if the arrays '
      f'are stored [D, T], {feature_files.TRANSPOSE}'
    )
  return lines


def _explanations(
  rows: Mapping[str, int],
  dim: int,
  durations: Mapping[str, float | int],
  grid: Callable[[str], feature_rates.Grid],
  names: Sequence[str],
) -> list[str]:
  """What would make lengths fit that do not; the likeliest cause only."""
  seconds = np.array([durations[k] for k in names])
  found = np.array([rows[k] for k in names])
  expected = np.array([grid(k).rows(durations[k]) for k in names])
  # The videos that fit must fit in the new way too.
  others = len(rows) - len(names)
  if (
    dim and not others and (np.abs(dim - expected) <= 0.02 * expected + 2).all()
  ):
    return [
      f'With {dim} rows they would fit: the arrays are stored [D, T]; '
      + feature_files.TRANSPOSE
    ]
  if len(set(rows.values())) == 1 and len(rows) > 1 and np.ptp(seconds) > 1:
    return [
      f'All {len(rows)} recordings have {found[0]} rows, though they last '
      f'{min(durations.values()):.4g} to {max(durations.values()):.4g} s: '
      'stretched to one length? Then say --config.data.rescaled=True for '
      'training, or {"rescaled": true} in features.json'
    ]
  # Unlike with a wrong rate, long and short recordings lack as many.
  lost = _lost(rows, durations, grid)
  if lost.min() > 1 and np.ptp(lost) <= 1 and lost.max() < 50:
    return [_of_windows(lost)]
  rates = {k: rows[k] / durations[k] for k in rows}
  groups = _groups(rates)
  if 1 < len(groups) <= 4 and len(groups) < len(rates) + (len(rates) == 2):
    listed = ', '.join(
      f'{np.mean([rates[k] for k in names]):.4g} ({len(names)}: '
      f'{", ".join(names[:2])}{" ..." if len(names) > 2 else ""})'
      for names in groups
    )
    return [
      f'The recordings have several rates: {listed}. Say "feature_fps" in each '
      'one\'s entry of the annotations, or {"feature_fps": {"<id>": …}} in '
      'features.json; they are then resampled to one. If some are of files that '
      'were cut off, make the annotations again by launch.convert_annotations '
      'with --durations= this folder and --bad=clip'
    ]
  return []


def _lost(rows, durations, grid) -> np.ndarray:
  """Rows that each video has fewer than it should."""
  return np.array([grid(k).rows(durations[k]) - rows[k] for k in rows])


def _of_windows(lost) -> str:
  return (
    f'Each recording is {lost.mean():.1f} rows short, as where a row sees a '
    f'window of {lost.max():.1f} to {lost.min() + 1:.1f} strides: '
    'T = (N - window) // stride + 1. If so, say feature_window and '
    'feature_stride in frames: as flags, as --config.data.feature_window=… for '
    'training, or in features.json'
  )


def _groups(rates: Mapping[str, float]) -> list[list[str]]:
  """Videos whose rates are within 1 % of each other."""
  groups, last = [], None
  for name in sorted(rates, key=rates.get):
    if last is None or rates[name] > 1.01 * last:
      groups.append([])
    groups[-1].append(name)
    last = rates[name]
  return groups
