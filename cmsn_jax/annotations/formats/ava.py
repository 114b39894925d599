"""AVA: a row a person and second, without a header."""

import collections
import re

from cmsn_jax.annotations import imported, sample
from cmsn_jax.files import csv_tables

_SHARE = r'(?:0?\.\d+|0|1|0\.0*|1\.0*)?'
_LINE = re.compile(
  rf'([^,]+),(\d{{1,6}}(?:\.\d+)?),{_SHARE},{_SHARE},{_SHARE},{_SHARE},(\d*)(?:,(\d*))?'
)


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  lines = [line.strip() for line in file.lines if line.strip()]
  if lines and all(_LINE.fullmatch(line) for line in lines):
    return 'rows of video, second, box, action, person, as in AVA'
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """Runs of seconds in which a person does the same; labels are class numbers."""
  result = imported.Imported(file.path, 'seconds')
  seconds = collections.defaultdict(set)
  for k, line in enumerate(file.text.splitlines()):
    if not line.strip():
      continue
    match = _LINE.fullmatch(line.strip())
    if not match:
      result.bad.append(
        f'row {k + 1}: found {line[:60]!r}, expected a row of AVA'
      )
      continue
    result.recording(match[1])
    if match[3]:
      person = match[4] or ''
      seconds[match[1], person, match[3]].add(round(float(match[2])))
  if not result.recordings:
    raise csv_tables.TableError(f'{file.path}: found no row of AVA')
  for (name, person, label), times in seconds.items():
    ordered = sorted(times)
    first = ordered[0]
    for now, following in zip(ordered, [*ordered[1:], None]):
      if following != now + 1:
        where = f'person {person or "?"}, second {first}'
        result.add(name, max(0.0, first - 0.5), now + 0.5, label, where)
        first = following
  for recording in result.recordings.values():
    recording.instances.sort(key=lambda one: (one.start_sec, one.end_sec))
  result.notes.append(
    'a row is for the second around its time stamp; seconds in a row of one '
    'person and action are one instance; boxes are not used'
  )
  return result
