"""How videos are dealt out to processes, so that all end at about one time."""

import re
from collections.abc import Mapping


def share(
  lengths: Mapping[str, float | int], index: int, count: int
) -> list[str]:
  """The index-th of `count` parts of the videos, balanced by their lengths.

  The longest videos go first, each to the part with least to do; every
  process comes to the same split.

  Args:
    lengths: of each video, in any unit.
    index: from 0.
    count: of parts.
  Returns:
    video ids of the part, sorted.
  """
  loads, own = [0.0] * count, []
  for video_id in sorted(lengths, key=lambda v: (-lengths[v], v)):
    part = loads.index(min(loads))
    loads[part] += lengths[video_id]
    if part == index:
      own.append(video_id)
  return sorted(own)


def parse(text: str) -> tuple[int, int]:
  """'i/n' of a --shard flag as (i, n).

  Raises:
    ValueError: if it is anything else, or i is not from 0 to n-1.
  """
  found = re.fullmatch(r'(\d{1,9})/(\d{1,9})', text)
  if not found or int(found[1]) >= int(found[2]):
    raise ValueError(f'--shard must be i/n with i from 0 to n-1, got {text!r}')
  return int(found[1]), int(found[2])
