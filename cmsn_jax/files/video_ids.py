"""Which names a video may have: they become file names."""

import unicodedata

MAX_BYTES = 200


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
