"""Every check on an ActivityNet JSON document, all problems at once."""

import collections
import difflib
import re
import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from cmsn_jax import segments
from cmsn_jax.files import json_files, video_ids

SUBSETS = ('training', 'validation', 'testing')
SUBSET_NAMES = {
  name: subset
  for subset, names in {
    'training': 'training train trn tr learning',
    'validation': 'validation validate val valid dev development vali',
    'testing': 'testing test tst te eval evaluation holdout',
  }.items()
  for name in names.split()
}
# Rounding, or another decoder's last frames, but not another unit.
PAST_END_TOLERANCE_SEC = 0.5
NO_LABEL = 'action'
# Beyond these a number is in another unit or damaged, and would ask for
# terabytes of snippets.
_MAX_DURATION_SEC = 1e7
_MAX_RATE = 1e6
# Of problems alike: the rest is counted.
_MAX_ALIKE = 3
_MAX_SHOWN = 60
_VIDEO_KEYS = (
  'subset', 'duration', 'annotations', 'fps', 'feature_fps', 'ignore', 'url',
  'resolution',
)  # fmt: skip
_ITEM_KEYS = ('segment', 'label', 'past_end')


class AnnotationError(ValueError):
  """Everything that is wrong in one annotation file.

  Where many are alike but for names and numbers, the message shows one of them
  and their count.

  Attributes:
    problems: one line for each problem.
  """

  def __init__(self, message: str, problems: tuple[str, ...] = ()):
    self.problems = tuple(problems) or (message,)
    if problems:
      message = '\n'.join([message, *_grouped(problems)])
    super().__init__(message)


def _grouped(problems: tuple[str, ...]) -> list[str]:
  """Lines of a message: one or few examples of each kind of problem."""
  kinds: dict[str, list[str]] = collections.defaultdict(list)
  for problem in problems:
    # Without what differs from place to place: its name, texts, numbers.
    what = problem.partition(': ')[2] or problem
    what = re.sub(r"'[^']*'|\[[^]]*\]|[-+]?\d[\d.e+-]*", '…', what)
    kinds[what].append(problem)
  lines = []
  for alike in kinds.values():
    if len(alike) <= _MAX_ALIKE:
      lines += [f'  {problem}' for problem in alike]
    else:
      lines.append(f'  {alike[0]}; and {len(alike) - 1} more of this kind')
  if len(lines) > _MAX_SHOWN:
    more = len(lines) - _MAX_SHOWN
    lines[_MAX_SHOWN:] = [f'  … and {more} more kinds']
  return lines


class AnnotationWarning(UserWarning):
  """Something in an annotation file was repaired."""


class Entry(NamedTuple):
  """A checked video: the arguments of `annotations.Video`."""

  video_id: str
  subset: str
  duration_sec: float
  rows: list[tuple[float, float]]
  labels: tuple[str, ...]
  fps: float | None
  feature_fps: float | None
  ignore: list[tuple[float, float]]


def entries(
  document: object,
  source: str,
  names: Mapping[str, Iterable[str]] | None = None,
) -> list[Entry]:
  """The checked videos of a document; see `annotations.parse`."""
  found_database = database(document, source)
  checker = _Checker(source, names or {})
  found = []
  for video_id, entry in found_database.items():
    bad_id = video_ids.problem(video_id)
    if bad_id:
      checker.problem(video_ids.shown(video_id), f'the video id {bad_id}')
      continue
    video = checker.video(video_id, entry)
    if video is not None:
      found.append(video)
  checker.finish()
  return found


def suggestion(name: str, known: Iterable[str], cutoff: float = 0.5) -> str:
  """` (did you mean …?)`, or nothing where no known name is near."""
  close = difflib.get_close_matches(name, list(known), 1, cutoff)
  return f' (did you mean {close[0]!r}?)' if close else ''


def _unknown(entry: dict, known: tuple[str, ...]) -> list[str]:
  """Keys that may be a misspelt one: those that mean nothing else."""
  return [str(key) for key in entry if key not in known]


def database(document: object, source: str) -> dict:
  """The entries of a document, by id; an AnnotationError without any."""
  expected = 'expected {"database": {"<video id>": {"subset": …}}}'
  if not isinstance(document, dict):
    raise AnnotationError(
      f'{source}: found {json_files.shown(document)}, {expected}'
    )
  if 'database' not in document:
    what = (
      'a proposals file ("results")'
      if 'results' in document
      else f'{json_files.shown(document)} and no "database"'
    )
    raise AnnotationError(f'{source}: found {what}, {expected}')
  found = document['database']
  if not isinstance(found, dict) or not found:
    raise AnnotationError(
      f'{source}: found {json_files.shown(found)} as "database", {expected}'
    )
  return found


class _Checker:
  """Checks videos one by one and remembers what it finds."""

  def __init__(self, source: str, names: Mapping[str, Iterable[str]]):
    self._source = source
    self._names = names
    self._problems: list[str] = []
    self._repairs: dict[str, list[str]] = collections.defaultdict(list)
    self._labels = collections.Counter()

  def problem(self, where: str, what: str) -> None:
    self._problems.append(f'{where}: {what}')

  def finish(self) -> None:
    if self._problems:
      count = json_files.problems_found(len(self._problems))
      remedy = ''
      if any(
        re.search(r'(entry|ignore) .*found \[', p) for p in self._problems
      ):
        remedy = (
          ': mend the file, or let launch.convert_annotations leave such '
          'entries out (--bad=drop) or keep what is inside the video '
          '(--bad=clip)'
        )
      raise AnnotationError(
        f'{self._source}: {count}{remedy}', tuple(self._problems)
      )
    alike = _look_alike(self._labels)
    if alike:
      self._repairs[
        'labels alike but for case or blanks, told apart: are they one?'
      ] = alike
    for what, places in self._repairs.items():
      shown = '; '.join(places[:5]) + ('; …' if len(places) > 5 else '')
      warnings.warn(
        f'{self._source}: {what} ({len(places)}): {shown}',
        AnnotationWarning,
        stacklevel=5,
      )

  def video(self, video_id: str, entry: object) -> Entry | None:
    if not isinstance(entry, dict):
      self.problem(
        video_id,
        f'found {json_files.shown(entry)}, expected an object with "subset", '
        '"duration" and "annotations"',
      )
      return None
    before = len(self._problems)
    subset = self._subset(video_id, entry)
    duration = self._positive(video_id, entry, 'duration', _MAX_DURATION_SEC)
    if duration is None and 'duration' not in entry:
      close = suggestion('duration', _unknown(entry, _VIDEO_KEYS))
      self.problem(
        video_id, f'no "duration"{close}, expected the seconds of the video'
      )
    fps = self._positive(video_id, entry, 'fps', _MAX_RATE)
    feature_fps = self._positive(video_id, entry, 'feature_fps', _MAX_RATE)
    instances = self._instances(video_id, entry, subset, duration, fps)
    ignore = self._ignored(video_id, entry, duration, fps)
    if len(self._problems) > before or duration is None or subset is None:
      return None
    rows = [row for row, _ in instances]
    labels = tuple(label for _, label in instances)
    left_out = segments.mostly_within(
      np.array(rows, np.float64).reshape(-1, 2),
      np.array(ignore, np.float64).reshape(-1, 2),
    )
    if left_out.any():
      self._repairs[
        'instances mostly in spans to "ignore": neither learned nor counted'
      ].append(f'{video_id}: {left_out.sum()}')
    return Entry(
      video_id, subset, duration, rows, labels, fps, feature_fps, ignore
    )

  def _subset(self, video_id: str, entry: dict) -> str | None:
    subset = entry.get('subset')
    if isinstance(subset, str) and subset in SUBSETS:
      return subset
    if 'subset' not in entry:
      found = 'no "subset"'
    else:
      hint = (
        suggestion(subset.lower(), SUBSETS, 0.4)
        if isinstance(subset, str)
        else ''
      )
      found = f'found subset {json_files.shown(subset)}{hint}'
    self.problem(video_id, f'{found}, expected one of {", ".join(SUBSETS)}')
    return None

  def _positive(
    self, video_id: str, entry: dict, key: str, maximum: float
  ) -> float | None:
    if entry.get(key) is None and (key != 'duration' or key not in entry):
      return None
    value = json_files.number(entry[key])
    if value is None or value <= 0:
      self.problem(
        video_id,
        f'found {key} {json_files.shown(entry[key])}, expected a positive '
        'number',
      )
      return None
    if value > maximum:
      self.problem(
        video_id,
        f'found {key} {value:g}, expected at most {maximum:g}: is it in '
        'another unit?',
      )
      return None
    return value

  def _instances(
    self,
    video_id: str,
    entry: dict,
    subset: str | None,
    duration: float | None,
    fps: float | None,
  ) -> list[tuple[tuple[float, float], str]]:
    # Hidden test annotations are commonly left out, an empty list elsewhere.
    items = entry.get('annotations', [] if subset == 'testing' else None)
    if not isinstance(items, list):
      found = (
        f'found annotations {json_files.shown(items)}'
        if 'annotations' in entry
        else f'no "annotations"{suggestion("annotations", _unknown(entry, _VIDEO_KEYS))}'
      )
      self.problem(
        video_id,
        f'{found}, expected a list (empty for a video without instances)',
      )
      return []
    names = list(self._names.get(video_id, ()))
    seen, instances = set(), []
    for k, item in enumerate(items):
      name = names[k] if k < len(names) else f'entry {k + 1}'
      where = f'{video_id}, {name}'
      row = self._segment(where, item)
      label = self._label(where, item)
      if row is None or label is None:
        continue
      if duration is not None and item.get('past_end') is not True:
        row = self._inside(where, row, duration, fps)
        if row is None:
          continue
      if (row, label) in seen:
        self._repairs['exact duplicates kept once'].append(where)
        continue
      seen.add((row, label))
      instances.append((row, label))
    self._labels.update(label for _, label in instances)
    return instances

  def _ignored(
    self, video_id: str, entry: dict, duration: float | None, fps: float | None
  ) -> list[tuple[float, float]]:
    """The spans that nobody looked at."""
    for key in _unknown(entry, _VIDEO_KEYS):
      # A slip would make of them spans where nothing happens.
      if suggestion(key.lower(), ('ignore', 'ignored', 'ignores'), 0.85):
        self.problem(video_id, f'found the key {key!r}, did you mean "ignore"?')
    spans = [] if entry.get('ignore') is None else entry['ignore']
    if not isinstance(spans, list):
      self.problem(
        video_id,
        f'found ignore {json_files.shown(spans)}, expected a list of '
        '[start, end] in seconds',
      )
      return []
    found = []
    for k, pair in enumerate(spans):
      where = f'{video_id}, ignore {k + 1}'
      row = self._span(where, pair)
      if row is not None and duration is not None:
        row = self._inside(where, row, duration, fps)
      if row is not None:
        found.append(row)
    return found

  def _segment(self, where: str, item: object) -> tuple[float, float] | None:
    if not isinstance(item, dict):
      self.problem(
        where,
        f'found {json_files.shown(item)}, expected {{"segment": [start, end], '
        '"label": "…"}',
      )
      return None
    if 'segment' not in item:
      close = suggestion('segment', _unknown(item, _ITEM_KEYS))
      self.problem(
        where, f'no "segment"{close}, expected [start, end] in seconds'
      )
      return None
    return self._span(where, item['segment'], 'segment ')

  def _span(
    self, where: str, pair: object, what: str = ''
  ) -> tuple[float, float] | None:
    values = (
      [json_files.number(value) for value in pair]
      if isinstance(pair, list) and len(pair) == 2
      else [None]
    )
    if None in values:
      self.problem(
        where,
        f'found {what}{json_files.shown(pair)}, expected [start, end] in '
        'seconds',
      )
      return None
    start, end = values
    if start < 0:
      self.problem(where, f'found a start before 0 in [{start:g}, {end:g}]')
      return None
    if start >= end:
      self.problem(
        where, f'found [{start:g}, {end:g}], expected the start before the end'
      )
      return None
    return start, end

  def _label(self, where: str, item: object) -> str | None:
    if not isinstance(item, dict):
      return None
    if 'label' not in item:
      self._repairs[f'no label, taken as {NO_LABEL!r}'].append(where)
      return NO_LABEL
    label = item['label']
    if not (isinstance(label, str) and label.strip()):
      self.problem(
        where,
        f'found label {json_files.shown(label)}, expected a text that is not '
        f'empty (without "label" an instance is called {NO_LABEL!r})',
      )
      return None
    # Else two labels would look alike wherever they are shown.
    tidy = label.strip()
    if tidy != label:
      self._repairs['blanks around labels, left out'].append(
        f'{where}: {json_files.shown(label)}'
      )
    return tidy

  def _inside(
    self,
    where: str,
    row: tuple[float, float],
    duration: float,
    fps: float | None,
  ) -> tuple[float, float] | None:
    start, end = row
    if end <= duration:
      return row
    tolerance = max(PAST_END_TOLERANCE_SEC, 1 / fps if fps else 0.0)
    if end - duration <= tolerance and start < duration:
      self._repairs['ends just past the video, clipped to its duration'].append(
        f'{where}: {end:g} > {duration:g}'
      )
      return start, duration
    self.problem(
      where,
      f'found [{start:g}, {end:g}] in a video of {duration:g} s'
      f'{unit_hint(end / duration)}',
    )
    return None


def _look_alike(labels: Mapping[str, int]) -> list[str]:
  """Groups of labels that people read as one, with their instances."""
  groups = collections.defaultdict(list)
  for label, count in labels.items():
    plain = unicodedata.normalize('NFKC', label).casefold()
    groups[' '.join(plain.split())].append(f'{label!r} ({count})')
  return [', '.join(alike) for alike in groups.values() if len(alike) > 1]


def unit_hint(ratio: float) -> str:
  """What the times may be, whose ends are so many times the duration."""
  if 10 <= ratio <= 130:
    return (
      ': are the segments in frames? Expected seconds (--unit=frames --fps=30 '
      'of launch.convert_annotations converts them)'
    )
  if 130 < ratio <= 1100:
    return (
      ': are the segments in milliseconds? Expected seconds '
      '(--unit=milliseconds of launch.convert_annotations converts them)'
    )
  return ', expected an end within the duration (is the duration right?)'
