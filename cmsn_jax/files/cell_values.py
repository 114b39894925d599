"""Numbers and times as people write them in tables.

`1.5`, `1,5`, `1,201.5`, `1.5 s`, `250 ms`, `00:01:02.5`, `01:02`.
"""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

# Seconds of one of each; a frame's depends on the rate.
SECONDS = {
  'seconds': 1.0,
  'milliseconds': 0.001,
  'minutes': 60.0,
  'hours': 3600.0,
  'days': 86400.0,
}
UNIT_WORDS = {
  word: unit
  for unit, words in {
    'seconds': 's sec secs second seconds sek sekunden',
    'milliseconds': 'ms msec msecs millis millisecond milliseconds',
    'minutes': 'min mins minute minutes',
    'hours': 'h hr hrs hour hours',
    'frames': 'frame frames frm frms fr',
    'clock': 'hms hhmmss clock timecode hmsf',
  }.items()
  for word in words.split()
}
# How spreadsheets, pandas and R write that there is nothing.
MISSING = ('', 'na', 'n/a', 'nan', 'none', 'null', '-', '--', '.', '#n/a')
_PLAIN = re.compile(r'[-+]?(\d{1,18}(\.\d{0,30})?|\.\d{1,30})(e[-+]?\d{1,3})?')
_THOUSANDS = re.compile(r'[-+]?\d{1,3}(,\d{3})+(\.\d*)?')
_WITH_UNIT = re.compile(r'(.*?\d[\d.,]*)\s*([a-z]+)\.?')
_CLOCK = re.compile(
  r'([-+]?)(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:[.,]\d{1,9})?)'
)
_TIME_CODE = re.compile(r'(\d{1,3}):(\d{1,2}):(\d{1,2})[:;](\d{1,3})')


class Value(NamedTuple):
  """A number and the unit it was written with, if any."""

  number: float
  unit: str | None


def is_missing(text: str) -> bool:
  """Whether a cell says that there is nothing."""
  return text.strip().lower() in MISSING


def decimal_sign(texts: Iterable[str], stated: str | None = None) -> str:
  """Whether the numbers of a column have decimal points or commas.

  Args:
    texts: the column's cells.
    stated: '.' or ',' where it is known.
  Returns:
    '.' or ','; in '.' columns commas group thousands, and the other way.
  Raises:
    ValueError: if both occur, or `1,201` may be 1.201 as well as 1201.
  """
  if stated:
    return stated
  point = comma = doubtful = ''
  for text in texts:
    text = _without_unit(text)[0]
    if ',' not in text and '.' not in text or ':' in text:
      continue
    if re.fullmatch(
      r'[-+]?\d{1,3}(,\d{3})+\.\d*|[-+]?\d{1,3}(,\d{3}){2,}', text
    ):
      point = point or text
    elif re.fullmatch(
      r'[-+]?\d{1,3}(\.\d{3})+,\d*|[-+]?\d{1,3}(\.\d{3}){2,}', text
    ):
      comma = comma or text
    elif re.fullmatch(r'[-+]?[1-9]\d{0,2},\d{3}', text):
      doubtful = doubtful or text
    elif re.fullmatch(r'[-+]?\d*,\d+', text):
      comma = comma or text
    elif re.fullmatch(r'[-+]?\d*\.\d*(e[-+]?\d+)?', text):
      point = point or text
  if point and comma:
    raise ValueError(
      f'found both {comma!r} and {point!r}: is the decimal sign a comma or a '
      'point? Say it with --decimal=comma or --decimal=point'
    )
  if doubtful and not point and not comma:
    raise ValueError(
      f'found {doubtful!r}: with a decimal comma, or is the comma for '
      'thousands? Say it with --decimal=comma or --decimal=point'
    )
  return ',' if comma else '.'


def _without_unit(text: str) -> tuple[str, str | None]:
  # Most cells are plain numbers, millions of them in a table of hours.
  if _PLAIN.fullmatch(text):
    return text, None
  text = text.strip().replace('−', '-').replace('\xa0', ' ').lower()
  match = _WITH_UNIT.fullmatch(text)
  if match and match[2] in UNIT_WORDS:
    return match[1].strip(), UNIT_WORDS[match[2]]
  return text, None


def parse(
  text: str, decimal: str = '.', fps: float | int | None = None
) -> Value:
  """The number in a cell.

  Args:
    text: the cell.
    decimal: see `decimal_sign`.
    fps: frames a second, for time codes `hh:mm:ss:ff`.
  Returns:
    the number and its unit: clock times are in seconds.
  Raises:
    ValueError: saying what was expected.
  """
  bare, unit = _without_unit(text)
  clock = ':' in bare and _CLOCK.fullmatch(bare)
  if clock and unit is None:
    hours, minutes = int(clock[2] or 0), int(clock[3])
    seconds = float(clock[4].replace(',', '.'))
    if seconds >= 60 or (clock[2] and minutes >= 60):
      raise ValueError('a clock time with less than 60 minutes and seconds')
    total = 3600 * hours + 60 * minutes + seconds
    return Value(-total if clock[1] == '-' else total, 'seconds')
  code = ':' in bare and _TIME_CODE.fullmatch(bare)
  if code:
    if not fps:
      raise ValueError(
        'seconds: this is a time code with frames; say --fps=25 or whatever '
        'the rate is'
      )
    hours, minutes, seconds, frames = (int(part) for part in code.groups())
    total = 3600 * hours + 60 * minutes + seconds + frames / fps
    return Value(total, 'seconds')
  if decimal == ',':
    bare = bare.replace('.', '').replace(',', '.')
  elif ',' in bare and _THOUSANDS.fullmatch(bare):
    bare = bare.replace(',', '')
  if not _PLAIN.fullmatch(bare):
    raise ValueError('a number')
  number = float(bare)
  if not math.isfinite(number):
    raise ValueError('a finite number')
  return Value(number, unit)
