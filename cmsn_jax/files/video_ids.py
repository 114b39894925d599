"""Which names a video may have: they become file names."""

import re
import unicodedata
from collections.abc import Iterable

MAX_BYTES = 200
_SUFFIX = re.compile(
  r'\.(mp4|avi|webm|mkv|mov|mpg|mpeg|m4v|mts|m2ts|ts|wmv|flv|3gp|ogv|seq|wav|'
  r'mp3|eaf|annot|boris|npy|npz)$',
  re.IGNORECASE,
)


def problem(video_id: object) -> str | None:
  """Why `video_id` cannot name a video's files, or None where it can.

  Features, frames and results are written to `<folder>/<id>.<suffix>`: an id
  must stay inside that folder and be a legal file name.
  """
  if not isinstance(video_id, str):
    return f'is a {type(video_id).__name__}, expected text'
  if not video_id:
    return 'is empty'
  if video_id in ('.', '..'):
    return 'names a folder'
  if '/' in video_id or '\\' in video_id:
    return 'has a path separator, expected a plain name without folders'
  # Cc control characters, Cs lone surrogates (not encodable), line separators.
  if any(unicodedata.category(c) in ('Cc', 'Cs', 'Zl', 'Zp') for c in video_id):
    return 'has control characters or undecodable bytes'
  if video_id != video_id.strip():
    return 'begins or ends with a space'
  num_bytes = len(video_id.encode('utf-8'))
  if num_bytes > MAX_BYTES:
    return f'is {num_bytes} bytes long, expected at most {MAX_BYTES}'
  return None


def shown(video_id: object) -> str:
  """The id for a message: as it is, or quoted, escaped and cut where odd."""
  if isinstance(video_id, str) and problem(video_id) is None:
    return video_id
  text = ascii(video_id)
  return text if len(text) <= 60 else text[:59] + '…'


def check(video_id: object) -> str:
  """The id itself.

  Raises:
    ValueError: if it cannot be a file name.
  """
  found = problem(video_id)
  if found:
    raise ValueError(f'video id {shown(video_id)} {found}')
  assert isinstance(video_id, str)
  return video_id


def plain(name: str) -> str:
  """The id in a name that may be a path and have a suffix.

  `C:\\data\\rat_01.mp4` is `rat_01`. Only suffixes of videos, sound and the
  annotation programs go: `trial.2` stays.
  """
  name = re.split(r'[/\\]', name.strip())[-1].strip()
  return _SUFFIX.sub('', name) or name


def alike(name: str, known: Iterable[str]) -> list[str]:
  """Known ids that differ from `name` in spelling only.

  In case, leading zeros, folder and suffix, Unicode form, blanks for other
  separators, or by a prefix or suffix that is set off by a separator.

  Args:
    name: an id.
    known: others.
  Returns:
    those that look like the same recording, the nearest kind of difference
    first and only of that kind.
  """
  known = list(known)
  for key in (_folded, _without_zeros):
    found = [other for other in known if key(other) == key(name)]
    if found:
      return found
  one = _without_zeros(name)
  parts = [(other, _without_zeros(other)) for other in known]
  return [
    other
    for other, text in parts
    if one
    and text
    and f'-{one}-' != f'-{text}-'
    and (f'-{one}-' in f'-{text}-' or f'-{text}-' in f'-{one}-')
  ]


def _folded(name: str) -> str:
  text = unicodedata.normalize('NFKC', plain(name)).casefold()
  return re.sub(r'[\W_]+', '-', text).strip('-')


def _without_zeros(name: str) -> str:
  return re.sub(r'(?<!\d)0+(?=\d)', '', _folded(name))
