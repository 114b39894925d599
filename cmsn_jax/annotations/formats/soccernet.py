"""SoccerNet: moments of a match, by half."""

import re

from cmsn_jax.annotations import checks, imported, sample
from cmsn_jax.files import json_files

_TIME = re.compile(r'\s*(\d)\s*-\s*(\d{1,3}):(\d{2})\s*')


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  document = file.document
  items = document.get('annotations') if isinstance(document, dict) else None
  if (
    isinstance(items, list)
    and items
    and isinstance(items[0], dict)
    and 'gameTime' in items[0]
  ):
    return 'moments with a "gameTime", as SoccerNet has them'
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """Moments, each half a recording `<match>_<half>`; see --point_events."""
  result = imported.Imported(file.path, 'seconds')
  document = file.document if isinstance(file.document, dict) else {}
  items = document.get('annotations')
  if not isinstance(items, list):
    raise checks.AnnotationError(f'{file.path}: expected a list of annotations')
  match = document.get('UrlLocal')
  match = match.rstrip('/') if isinstance(match, str) else ''
  match = options.recording or re.split(r'[/\\]', match)[-1] or file.stem
  for k, item in enumerate(items):
    where = f'entry {k + 1}'
    item = item if isinstance(item, dict) else {}
    time = _TIME.fullmatch(str(item.get('gameTime', ''))[:40])
    label = item.get('label')
    if not time or not isinstance(label, str) or not label:
      result.bad.append(
        f'{where}: found {json_files.shown(item)}, expected a gameTime "1 - 00:12" '
        'and a label'
      )
      continue
    position = str(item.get('position', ''))
    at = 60.0 * int(time[2]) + int(time[3])
    if re.fullmatch(r'\d{1,12}', position):  # milliseconds, more exact
      at = int(position) / 1000
    result.add_point(f'{match}_{time[1]}', at, label, where, options)
  return result
