"""Audacity's label tracks: lines of start, end, label, separated by tabs."""

import re

from cmsn_jax.annotations import imported, sample

_LINE = re.compile(
  r'(-?\d{1,9}(?:[.,]\d{1,12})?)\t(-?\d{1,9}(?:[.,]\d{1,12})?)(?:\t(.*))?'
)


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  # A line that begins with a backslash has the frequencies of the one before.
  lines = [x for x in file.lines if x.strip() and not x.startswith('\\')]
  if lines and all(_LINE.fullmatch(line.lstrip('\ufeff')) for line in lines):
    return 'lines of start, end and label, as Audacity writes them'
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """Labels with a length; those of a moment as the options say."""
  result = imported.Imported(file.path, 'seconds')
  name = options.recording or file.stem
  result.recording(name)
  for k, line in enumerate(file.text.lstrip('\ufeff').splitlines()):
    where = f'line {k + 1}'
    if not line.strip() or line.startswith('\\'):
      continue
    match = _LINE.fullmatch(line)
    if not match:
      result.bad.append(
        f'{where}: found {line[:60]!r}, expected start, end and label'
      )
      continue
    start, end = (float(match[j].replace(',', '.')) for j in (1, 2))
    label = (match[3] or '').strip()
    if start == end:
      result.add_point(name, start, label or 'action', where, options)
    else:
      result.add(name, start, end, label, where)
  return result
