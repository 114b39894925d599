"""What a folder holds, what of it fits together, and what to do next."""

import dataclasses
import os
import warnings
from collections.abc import Iterable, Mapping

import numpy as np

from cmsn_jax.annotations import activitynet, importers, recording_names
from cmsn_jax.annotations import sample as sample_lib
from cmsn_jax.files import feature_files, feature_folders, proposal_sources
from cmsn_jax.video import decoding, video_files

# Folders below the one that is asked about, and files that are looked into: a
# look, not a search.
_DEPTH = 2
_MAX_FILES = 2000
_LOOKED_INTO = 200
_SHOWN = 3
# Bytes in which a file of results says what it is.
_HEAD = 4096
# Snippets a second that features usually have; a rate within 2 % is called so.
_USUAL = (1, 2, 3.125, 4, 5, 6.25, 7.5, 8, 10, 12, 12.5, 15, 16, 20, 24, 25, 30,
          32, 50, 60, 100, 120)  # fmt: skip
_ARRAYS = tuple(
  suffix
  for suffix in feature_folders.READERS
  if suffix not in ('.csv', '.tsv', '.pkl', '.pickle')
)


@dataclasses.dataclass
class Part:
  """One thing that was found.

  Attributes:
    kind: 'videos', 'features', 'annotations', 'proposals', 'run', 'export' or
      'other'.
    path: where.
    text: what it is, in a few words.
    ids: recordings that it is of.
    seconds: id -> duration, as far as it is known.
    rows: id -> rows of a feature file.
    feature_fps: of features, if they say.
    problem: why it cannot be used as it is; '' if it can.
    ready: annotations that every command reads as they are.
  """

  kind: str
  path: str
  text: str
  ids: tuple[str, ...] = ()
  seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
  rows: Mapping[str, int] = dataclasses.field(default_factory=dict)
  feature_fps: float | None = None
  problem: str = ''
  ready: bool = False


@dataclasses.dataclass(frozen=True)
class Report:
  """What `inspect` found.

  Attributes:
    parts: everything, in the order of the folders.
    fits: what fits together and what does not, a line each.
    missing: what a training still needs, a line each.
    commands: the next ones, in their order.
  """

  parts: tuple[Part, ...]
  fits: tuple[str, ...]
  missing: tuple[str, ...]
  commands: tuple[str, ...]


def inspect(folder: str | os.PathLike) -> Report:
  """Looks at whatever is in a folder and up to two folders below.

  Args:
    folder: or a single file.

  Raises:
    FileNotFoundError: if there is nothing.
  """
  folder = os.fspath(folder)
  if not os.path.exists(folder):
    raise FileNotFoundError(f'{folder}: no such file or folder')
  parts = list(_parts(folder))
  annotations = _usable(parts, 'annotations')
  features = _usable(parts, 'features')
  videos = _usable(parts, 'videos')
  fits = [
    line
    for first in annotations[:2]
    if first.ids
    for second in (*features[:2], *videos[:2])
    for line in _fit(first, second)
  ]
  return Report(
    tuple(parts),
    tuple(fits),
    tuple(_missing(annotations, features, videos)),
    tuple(_commands(parts, annotations, features, videos)),
  )


def _usable(parts, kind):
  found = [p for p in parts if p.kind == kind and not p.problem]
  return sorted(found, key=lambda part: (not part.ready, -len(part.ids)))


def _parts(folder):
  if not os.path.isdir(folder):
    yield _of_file(folder)
    return
  whole = _of_folder_format(folder)
  if whole is not None:
    yield whole
    return
  for root, names, files in os.walk(folder):
    names.sort()
    if os.path.relpath(root, folder).count(os.sep) >= _DEPTH - 1:
      names[:] = [] if root != folder else names
    names[:] = [name for name in names if not name.startswith('.')]
    files = sorted(name for name in files if not name.startswith('.'))
    if 'model.json' in files and 'statistics.npz' in files:
      names[:] = []
      yield Part('export', root, 'a model that launch.export wrote')
    elif 'config.json' in files and any(
      os.path.isdir(os.path.join(root, name, 'best')) for name in names
    ):
      names[:] = []
      yield Part('run', root, 'a trained run')
    else:
      yield from _of_folder(root, files[:_MAX_FILES])


def _of_folder_format(folder):
  """Annotations whose format is a folder, as THUMOS14's is."""
  file = sample_lib.Sample(folder)
  for reader in importers.readers().values():
    if reader.recognise(file):
      return _of_annotations(folder)
  return None


def _of_folder(root, files):
  """The parts that lie in one folder itself."""
  paths = [os.path.join(root, name) for name in files]
  suffix = lambda path: os.path.splitext(path)[1].lower()
  videos = [p for p in paths if suffix(p) in video_files.SUFFIXES]
  arrays = [p for p in paths if suffix(p) in _ARRAYS]
  rest = [p for p in paths if p not in videos and p not in arrays]
  rest = [p for p in rest if os.path.basename(p) != feature_folders.SIDECAR]
  if videos:
    yield _of_videos(root, videos)
  if arrays:
    yield _of_features(root)
  others = []
  alike = {}
  for path in rest[:_LOOKED_INTO]:
    part = _of_file(path)
    if part.kind == 'other':
      others.append(part)
    else:
      alike.setdefault((part.kind, part.text.split(':')[0]), []).append(part)
  tables = [p for p in others if suffix(p.path) in ('.csv', '.tsv')]
  if tables and not arrays:
    # Tables of numbers only: features, one table a recording.
    part = _of_features(root)
    part.ids = part.ids or tuple(_stem(p.path) for p in tables)
    yield part
    others = [p for p in others if _stem(p.path) not in part.ids]
  for same in alike.values():
    if len(same) > _SHOWN and same[0].kind == 'annotations':
      yield _of_annotations(root) or same[0]
    else:
      yield from same
  yield from others[:_SHOWN]
  if len(others) > _SHOWN:
    yield Part('other', root, f'{len(others) - _SHOWN} more that are not known')


def _stem(path):
  return os.path.splitext(os.path.basename(path))[0]


def _of_videos(root, files):
  seconds, problems = {}, []
  for path in files[:_LOOKED_INTO]:
    try:
      seconds[os.path.splitext(os.path.basename(path))[0]] = decoding.probe(
        path
      ).duration_sec
    except ValueError as error:
      problems.append(str(error))
  ids = tuple(os.path.splitext(os.path.basename(p))[0] for p in files)
  text = f'{len(files)} videos'
  if seconds:
    text += f', {_clock(sum(seconds.values()))} of those looked at'
  if problems:
    text += f'; {len(problems)} cannot be read, e.g. {problems[0]}'
  return Part('videos', root, text, ids, seconds,
              problem='' if seconds else problems[0])  # fmt: skip


def _of_features(root):
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      store = feature_files.open_features(root)
      width = store.dim
      rows = {
        name: store.num_snippets(name) for name in store.ids[:_LOOKED_INTO]
      }
  except (ValueError, OSError) as error:
    problem = str(error).partition('\n')[0]
    return Part('features', root, 'arrays', problem=problem)
  lengths = np.array(list(rows.values()))
  text = (
    f'features of {len(store.ids)} recordings, {lengths.min():,} to '
    f'{lengths.max():,} rows of {width} numbers'
  )
  if store.feature_fps:
    text += f', {store.feature_fps:g} rows a second'
  return Part('features', root, text, store.ids, rows=rows,
              feature_fps=store.feature_fps)  # fmt: skip


def _of_file(path):
  """Annotations, proposals, or neither."""
  part = _of_annotations(path) or _of_proposals(path)
  return part or Part('other', path, 'not known')


def _of_annotations(path):
  try:
    kind, reason = importers.recognise(sample_lib.Sample(path))
  except (ValueError, OSError):
    return None
  text = f'{kind}: {reason}'
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      found = importers.convert(path).annotations
  except (ValueError, OSError) as error:
    # What is missing is said by the command that converts it.
    first = str(error).partition('\n')[0]
    return Part('annotations', path, f'{text}; converting says: {first}')
  videos = found.videos
  count = sum(len(video.segments) for video in videos.values())
  text = f'{count} instances in {len(videos)} recordings ({text})'
  return Part(
    'annotations', path, text, tuple(videos),
    {name: video.duration_sec for name, video in videos.items()},
    ready=_reads(path),
  )  # fmt: skip


def _reads(path):
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      activitynet.read(path)
  except (ValueError, OSError):
    return False
  return True


def _of_proposals(path):
  # A list without scores may be anything.
  with open(path, 'rb') as file:
    if b'score' not in file.read(_HEAD):
      return None
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      found = proposal_sources.read(path)
  except (ValueError, OSError):
    return None
  count = sum(len(one.scores) for one in found.values())
  return Part('proposals', path,
              f'{count:,} proposals for {len(found)} recordings',
              tuple(found))  # fmt: skip


def _fit(first, second):
  """How annotations go with features or videos."""
  known = set(second.ids)
  both = [name for name in first.ids if name in known]
  yield (
    f'{len(both)} of the {len(first.ids)} annotated recordings are in '
    f'{second.path}'
  )
  lost = [name for name in first.ids if name not in known]
  near = [
    (name, alike[0])
    for name in lost
    if (alike := recording_names.alike(name, known))
  ]
  if near:
    shown = ', '.join(f'{a!r} is {b!r} there' for a, b in near[:_SHOWN])
    yield f'{len(near)} differ in spelling only: {shown}; --match=loose'
  elif lost and len(lost) < len(first.ids):
    yield f'without a file: {_some(lost)}'
  if second.rows:
    yield from _rate(first, second, both)


def _rate(first, second, both):
  rates = [
    second.rows[name] / first.seconds[name]
    for name in both
    if second.rows.get(name) and first.seconds.get(name)
  ]
  if not rates:
    return
  middle = float(np.median(rates))
  usual = min(_USUAL, key=lambda rate: abs(rate - middle))
  if abs(usual / middle - 1) < 0.02:
    middle = usual
  text = f'rows over seconds: about {middle:.4g} a second'
  if second.feature_fps and abs(second.feature_fps / middle - 1) > 0.02:
    text += f', but {second.path} says {second.feature_fps:g}: one is wrong'
  spread = np.ptp(rates) / max(middle, 1e-9)
  if spread > 0.1:
    text += (
      f' (from {min(rates):.4g} to {max(rates):.4g}: cameras of several rates, '
      'rescaled features, or durations that are not those of the recordings)'
    )
  yield text


def _missing(annotations, features, videos):
  if not annotations:
    yield 'annotations: when something happens in the recordings (any table)'
  if not features and not videos:
    yield 'features or videos of the recordings'


def _commands(parts, annotations, features, videos):
  labels = annotations[0] if annotations else None
  array, film = (x[0] if x else None for x in (features, videos))
  source = 'labels.json'
  if labels is not None:
    if labels.ready:
      source = labels.path
    else:
      lengths = (film or array).path if film or array else ''
      yield (
        f'cmsn convert_annotations --source={labels.path} '
        + (f'--durations={lengths} ' if lengths else '')
        + '--output=labels.json'
      )
  folder = array.path if array else 'features/'
  if array is None and film is not None:
    yield (
      'cmsn extract_features --config=configs/features_i3d.py '
      f'--input={film.path} --output=features/'
    )
  if labels is not None and (array or film):
    rate = ''
    if array is not None and not array.feature_fps:
      rate = _stated_rate(labels, array)
    yield (
      'cmsn train --config=configs/custom.py --workdir=runs/mine '
      f'--config.data.annotations={source} --config.data.features={folder}{rate}'
    )
  run = next((p for p in parts if p.kind == 'run'), None)
  if run is not None and (array or film):
    yield (
      f'cmsn propose --workdir={run.path} --input={(array or film).path} '
      '--output=proposals.json'
    )
  found = next((p for p in parts if p.kind == 'proposals'), None)
  if found is not None and labels is not None:
    yield (
      f'cmsn evaluate --proposals={found.path} --annotations={source} '
      '--protocol=top_k --output=metrics/'
    )


def _stated_rate(labels, array):
  text = next(iter(_rate(labels, array, set(labels.ids) & set(array.ids))), '')
  words = text.partition('about ')[2].split()
  return f' --config.data.feature_fps={words[0] if words else "…"}'


def _some(names: Iterable[str]) -> str:
  names = list(names)
  more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
  return ', '.join(names[:_SHOWN]) + more


def _clock(seconds):
  if seconds < 120:
    return f'{seconds:.0f} s'
  if seconds < 7200:
    return f'{seconds / 60:.0f} min'
  return f'{seconds / 3600:.1f} h'
