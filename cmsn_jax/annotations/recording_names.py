"""Names of recordings: without what paths add, and those that look alike."""

import os
import re
import unicodedata
from collections.abc import Iterable

from cmsn_jax.video import video_files

_SUFFIXES = video_files.SUFFIXES | {
  '.wav', '.mp3', '.seq', '.eaf', '.annot', '.boris', '.npy', '.npz',
}  # fmt: skip


def plain(name: str) -> str:
  r"""The id in a name that may be a path and have a suffix.

  `C:\data\rat_01.mp4` is `rat_01`. Only suffixes of videos, sound and the
  annotation programs go: `trial.2` stays.
  """
  name = re.split(r'[/\\]', name.strip())[-1].strip()
  stem, suffix = os.path.splitext(name)
  return stem if stem and suffix.lower() in _SUFFIXES else name


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
