"""Rows of features that arrive → proposals, told one by one.

Where they come from: frames of a camera, a stream or a file, or lines of text
that another program writes.
"""

import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from cmsn_jax.features import held_rows
from cmsn_jax.proposing import interrupt, streaming
from cmsn_jax.suppression import final_list

# Seconds without a row: a longer gap is a wrong clock.
_LONGEST_GAP_SEC = 24 * 3600.0


class Told(NamedTuple):
  """A proposal and when it was told.

  Attributes:
    start_sec: of the recording.
    end_sec: likewise.
    score: as `launch.propose` gives it.
    at_sec: how much of the recording there was.
    label: what happens; None: the run has no labels.
    label_score: how sure that is.
  """

  start_sec: float
  end_sec: float
  score: float
  at_sec: float
  label: str | None = None
  label_score: float | None = None

  def line(self, name: str) -> str:
    """As JSON in one line, of a recording of this name."""
    entry = {
      'video': name,
      'segment': [self.start_sec, self.end_sec],
      'score': self.score,
      'at': round(self.at_sec, 3),
    }
    if self.label is not None:
      entry |= {'label': self.label, 'label_score': self.label_score}
    return json.dumps(entry)


class Spent(NamedTuple):
  """What it took.

  Attributes:
    rows: of features.
    video_sec: of the recording.
    cpu_sec: of this process and those it waited for.
    told: proposals.
  """

  rows: int
  video_sec: float
  cpu_sec: float
  told: int


def run(
  stream: streaming.Stream,
  rows: Iterable[Float32[np.ndarray, '_ d']],
  tell: Callable[[Told], None],
  settings: final_list.Settings = final_list.NO_LIMITS,
) -> Spent:
  """Pushes rows until there are no more, and tells proposals as they are sure.

  Ctrl-C and SIGTERM end the rows. However they end, by an error too, what is
  left is told.

  Args:
    stream: takes the rows.
    rows: as they arrive.
    tell: called with each proposal, best first of those that are sure at once.
    settings: least score, and whether proposals may overlap; a better one that
      is told later leaves those before it as they are.

  Raises:
    ValueError: on a limit a minute, which needs the whole recording, and what
      reading or pushing rows raises.
  """
  if settings.max_per_minute:
    raise ValueError(
      '--max_per_minute needs the whole recording; give --min_score or '
      '--best=f1'
    )
  start, count, told = time.process_time(), 0, 0
  recent: list[tuple[float, float]] = []

  def tell_all(found):
    nonlocal told
    for row in found.rows():
      (begin, end), score = row.pop('segment'), row.pop('score')
      if settings.min_score is not None and score < settings.min_score:
        break
      if settings.non_overlapping:
        if any(begin < b and a < end for a, b in recent):
          continue
        # What ended two longest views ago cannot overlap anything new.
        oldest = stream.now_sec - 2 * stream.context_sec
        recent[:] = [one for one in recent if one[1] > oldest]
        recent.append((begin, end))
      tell(Told(begin, end, score, stream.now_sec, **row))
      told += 1

  with interrupt.Interrupt() as asked:
    try:
      for some in asked.until_asked(rows):
        tell_all(stream.push(some))
        count += len(some)
    except Exception:
      tell_all(stream.flush())
      raise
    tell_all(stream.flush())
  return Spent(count, stream.now_sec, time.process_time() - start, told)


class Lines:
  """Rows of features from lines of text.

  A line is a row: numbers with spaces, tabs, commas or semicolons between, or a
  JSON list. Or a JSON object {"t": seconds, "row": [...]}: its time decides
  where it belongs; where rows are missing the one before stands for them, and
  one that comes too late is left out. A row with NaN or infinity is missing. All
  lines are of one kind.

  Args:
    file: read line by line, to its end.
    feature_fps: rows a second.

  Attributes:
    held: rows that stand for missing ones.
    late: rows left out.
  """

  def __init__(self, file: Iterable[str], feature_fps: float | int):
    self._file, self._fps = file, float(feature_fps)
    self.held = self.late = 0

  def __iter__(self) -> Iterator[Float32[np.ndarray, '_ d']]:
    """Yields rows, each as soon as it is read.

    Raises:
      ValueError: on a line that is no row, naming it.
    """
    count, last, start = 0, None, None
    longest = round(_LONGEST_GAP_SEC * self._fps)
    for number, text in enumerate(self._file, start=1):
      if not text.strip() or text.startswith('#'):
        continue
      at, row = self._parsed(number, text)
      if last is not None and len(row) != last.shape[1]:
        raise ValueError(
          f'line {number} has {len(row)} numbers, those before have '
          f'{last.shape[1]}'
        )
      if at is not None:
        start = at if start is None else start
        place = round((at - start) * self._fps)
        if place < count:
          self.late += 1
          continue
        if place - count > longest:
          raise ValueError(
            f'line {number}: found t = {at:g} s, {(place - count) / self._fps:g} '
            's after the row before, expected seconds of one clock, at most '
            f'{_LONGEST_GAP_SEC:g} apart'
          )
        if place > count:
          yield from held_rows.held(last, place - count)
          self.held, count = self.held + place - count, place
      if np.isfinite(row).all():
        last = row[None]
      elif last is None:
        raise ValueError(
          f'line {number} has NaN or infinity, and no row before it can stand '
          'for it'
        )
      else:
        self.held += 1
      count += 1
      yield last

  def _parsed(self, number, text):
    at = None
    try:
      if text.lstrip()[0] in '[{':
        row = json.loads(text)
        if isinstance(row, dict):
          at, row = float(row['t']), row['row']
      else:
        row = [float(x) for x in re.split(r'[\s,;]+', text.strip()) if x]
      row = np.array(row, np.float32)
      if row.ndim != 1 or (at is not None and not math.isfinite(at)):
        raise ValueError
    except (ValueError, TypeError, KeyError):
      raise ValueError(
        f'line {number}: found {text.strip()[:60]!r}, expected numbers with '
        'spaces or commas between, a JSON list of them, or {"t": seconds, '
        '"row": [...]}'
      ) from None
    return at, row


class Printer:
  """Writes each proposal as a line, at once, to the screen and to a file.

  Args:
    name: of the recording.
    output: file that lines are added to; None: there is none.
  """

  def __init__(self, name: str, output: Any = None):
    self._name, self._output = name, output

  def __call__(self, told: Told) -> None:
    """Writes one."""
    line = told.line(self._name)
    print(line, flush=True)
    if self._output is not None:
      # Whole lines: a reader may open the file at any time.
      self._output.write(line + '\n')
      self._output.flush()
