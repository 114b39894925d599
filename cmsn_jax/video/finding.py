"""Which videos a user means: files, folders, patterns, lists, frames.

found = finding.find(['day1/', 'day2/GX*.MP4'], ids='path')
found.videos                     # file (or sequence of pictures) by id
"""

import collections
import dataclasses
import glob
import os
import pathlib
import re
from collections.abc import Sequence

from cmsn_jax.files import video_ids
from cmsn_jax.video import image_sequences, video_files

IDS = ('name', 'path')
# Stands between the folders of an id, which has to be the name of one file.
JOINT = '__'
_LISTS = ('.txt', '.lst', '.list', '.m3u')


@dataclasses.dataclass
class Found:
  """What lies at the inputs.

  Attributes:
    videos: what to read by id, in order.
    failures: why others are left out, by id or name.
    notes: a line an input with what else is there.
  """

  videos: dict[str, os.PathLike] = dataclasses.field(default_factory=dict)
  failures: dict[str, str] = dataclasses.field(default_factory=dict)
  notes: list[str] = dataclasses.field(default_factory=list)


def find(
  inputs: str | os.PathLike | Sequence[str | os.PathLike],
  *,
  ids: str = 'name',
  recursive: bool = False,
  fps: float | None = None,
) -> Found:
  """The videos at one or several inputs.

  Args:
    inputs: each a video, a folder of videos, a pattern (`**` goes through
      folders), a list (.txt: a path a line), a folder of numbered pictures, or
      a sequence such as `img_%05d.jpg`. `~` is the home folder.
    ids: 'name': the file's name without suffix. 'path': with the folders
      before it, joined by `__`: `day2/GX010001.MP4` is day2__GX010001.
    recursive: also what lies in folders below; ids then have these folders.
    fps: pictures a second, for folders of pictures.

  Raises:
    ValueError: no video at all, or an input that cannot be one.
  """
  if ids not in IDS:
    raise ValueError(f'ids must be one of {", ".join(IDS)}, got {ids!r}')
  if isinstance(inputs, (str, os.PathLike)):
    inputs = [inputs]
  found, pairs = Found(), []
  for text in inputs:
    pairs += _at(os.fspath(text), recursive, fps, found)
  by_id = collections.defaultdict(list)
  for path, root in pairs:
    by_id[_id_of(path, root, ids, recursive)].append(path)
  for video_id, paths in by_id.items():
    # The same file may be named twice.
    distinct = {os.path.realpath(path): path for path in paths}
    problem = video_ids.problem(video_id)
    if problem:
      found.failures[video_ids.shown(video_id)] = (
        f'{paths[0]}: its name cannot be a video id, which {problem}; rename it'
      )
    elif len(distinct) > 1:
      first, second, *_ = distinct.values()
      found.failures[video_id] = (
        f'{first} and {second} have the same video id {video_id}; rename or '
        'remove one, or keep folders in the ids by --ids=path'
      )
    else:
      found.videos[video_id] = paths[0]
  if not found.videos and not found.failures:
    raise video_files.VideoError(
      f'no video at {", ".join(map(str, inputs))}'
      + (f' ({"; ".join(found.notes)})' if found.notes else '')
    )
  return found


def _id_of(path, root, ids, recursive):
  if isinstance(path, image_sequences.ImageSequence):
    path = path.folder / '_'  # the folder is what has a name
    relative = path.parent.relative_to(root)
    if relative == pathlib.Path():
      relative = pathlib.Path(path.parent.resolve().name)
  else:
    relative = path.relative_to(root).with_suffix('')
    if path.suffix.lower() not in video_files.SUFFIXES and path.suffix:
      relative = path.relative_to(root)  # rec.2024-01-01 is a whole name
      if len(path.suffix) <= 5:
        relative = relative.with_suffix('')
  parts = relative.parts
  if ids == 'path' and not recursive and len(parts) == 1:
    parts = (root.resolve().name, *parts)
  if ids == 'name' and not recursive:
    parts = parts[-1:]
  return JOINT.join(part for part in parts if part)


def _at(text, recursive, fps, found):
  """(path, folder that its id is relative to) of one input."""
  text = os.path.expanduser(text)
  path = pathlib.Path(text)
  if path.is_dir():
    return _in_folder(path, recursive, fps, found)
  if path.is_file():
    if path.suffix.lower() in _LISTS:
      return _listed(path, recursive, fps, found)
    return [(path, path.parent)]
  if re.search(r'%0?\d*d', path.name):
    sequence = image_sequences.of_pattern(path, fps)
    return [(sequence, path.parent)]
  if path.exists():
    raise video_files.VideoError(
      f'{text}: a camera, a pipe or another device is not read: record it to '
      'a file first'
    )
  if '://' in text or text.startswith(('rtsp:', 'rtmp:')):
    raise video_files.VideoError(
      f'{text}: addresses and streams are not read: download or record it to a '
      'file first'
    )
  if path.is_symlink():
    raise video_files.VideoError(
      f'{text}: a link to {os.readlink(path)}, which is not there'
    )
  return _matching(text, recursive, fps, found)


def _in_folder(folder, recursive, fps, found, above=()):
  inside, left = [], collections.defaultdict(list)
  children = sorted(folder.iterdir())
  if image_sequences.holds_pictures(children):
    return [(image_sequences.of_folder(folder, fps), folder)]
  folders, above = [], (*above, os.path.realpath(folder))
  for child in children:
    if child.is_dir():
      round_about = recursive and os.path.realpath(child) in above
      (left['links to a folder above'] if round_about else folders).append(
        child
      )
    elif child.name.startswith('._'):
      left['files that macOS keeps beside others'].append(child)
    elif child.suffix.lower() in video_files.SUFFIXES:
      kind = 'dangling links' if child.is_symlink() else 'odd files'
      (inside if child.is_file() else left[kind]).append(child)
    elif not child.name.startswith('.'):
      left['other files'].append(child)
  pairs = [(path, folder) for path in inside]
  if recursive:
    for child in folders:
      below = _in_folder(child, recursive, fps, found, above)
      pairs += [(path, folder) for path, _ in below]
  elif folders:
    left['folders (--recursive takes them in)'] = folders
  if left:
    found.notes.append(_left_out(folder, len(inside), left))
  return pairs


def _left_out(folder, number, left):
  parts = []
  for kind, paths in left.items():
    names = ', '.join(ascii(p.name)[1:-1] for p in paths[:3])
    more = ', …' if len(paths) > 3 else ''
    parts.append(f'{len(paths)} {kind}: {names}{more}')
  return f'{folder}: {number} videos; left out {"; ".join(parts)}'


def _listed(path, recursive, fps, found):
  """Paths of a list, from where the command runs or from the list's folder."""
  pairs = []
  data = path.read_bytes()
  for line in data.decode('utf-8-sig', 'surrogateescape').splitlines():
    line = re.sub(r"^file\s+(?=['\"])", '', line.strip())  # as ffmpeg's lists
    if len(line) > 2 and line[0] == line[-1] and line[0] in '"\'':
      line = line[1:-1]
    if not line or line.startswith('#'):
      continue
    there = path.parent / os.path.expanduser(line)
    if not os.path.exists(line) and there.exists():
      line = str(there)
    try:
      pairs += _at(line, recursive, fps, found)
    except video_files.VideoError as error:
      found.failures[line] = f'{path}: {error}'
  return pairs


def _remedy(paths):
  if not image_sequences.holds_pictures(paths):
    return ''
  return '; pictures are given by their folder, or as img_%05d.jpg'


def _once(names):
  """Sorted; of a file that links to folders lead to again, the shortest."""
  places = {}
  for name in sorted(names, key=lambda name: (name.count(os.sep), name)):
    head, tail = os.path.split(name)
    places.setdefault((os.path.realpath(head), tail), name)
  return sorted(places.values())


def _matching(pattern, recursive, fps, found):
  """What a pattern matches; its leading folders may have brackets in names."""
  parts = pathlib.Path(pattern).parts
  literal = 0
  while literal < len(parts) and os.path.exists(
    os.path.join(*parts[: literal + 1])
  ):
    literal += 1
  root = pathlib.Path(*parts[:literal]) if literal else pathlib.Path()
  rest = os.path.join(*parts[literal:])
  if not glob.has_magic(rest):
    raise video_files.VideoError(f'{pattern}: no such file or folder')
  names = _once(
    glob.glob(os.path.join(glob.escape(str(root)), rest), recursive=True)
  )
  pairs, left = [], collections.defaultdict(list)
  for path in map(pathlib.Path, names):
    if path.is_dir():
      if recursive:
        pairs += [(p, root) for p, _ in _in_folder(path, True, fps, found)]
      elif '**' not in rest:
        left['folders (--recursive takes them in)'].append(path)
    elif path.suffix.lower() in video_files.SUFFIXES:
      kind = 'dangling links' if path.is_symlink() else 'odd files'
      if path.is_file():
        pairs.append((path, root))
      else:
        left[kind].append(path)
    else:
      left['other files'].append(path)
  if left:
    found.notes.append(_left_out(pattern, len(pairs), left))
  if not pairs:
    raise video_files.VideoError(
      f'no video at {pattern}'
      + (f' ({found.notes[-1]})' if left else '')
      + _remedy(left['other files'])
      + '; looked for '
      + ' '.join(sorted(video_files.SUFFIXES))
    )
  return pairs
