"""Ground truth: the ActivityNet JSON file, checked as a whole.

    {"version": "…", "database": {"<id>": {
      "subset": "training|validation|testing", "duration": seconds,
      "fps"?: frames per second, "feature_fps"?: snippets per second,
      "annotations": [{"segment": [start, end], "label": "…"}, …],
      "ignore"?: [[start, end], …]}}}

`ignore` are spans that nobody looked at: what happens there is not known, so
nothing is learned from them, and nothing proposed there is right or wrong.
Seconds throughout; other tools' dialects are read too (`dialects`). An annotation may say `"past_end": true`: then it is known
to lie behind the end of the video (THUMOS14 has some) and is kept as it is.
"""

import collections
import dataclasses
import json
import warnings
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float64

from cmsn_jax import segments as segments_lib
from cmsn_jax.annotations import checks, dialects
from cmsn_jax.files import json_files, replacing

AnnotationError = checks.AnnotationError
AnnotationWarning = checks.AnnotationWarning
SUBSETS = checks.SUBSETS


@dataclasses.dataclass(frozen=True, eq=False)
class Video:
  """One video's ground truth.

  Attributes:
    video_id: the id; features are in `<video_id>.npy`.
    subset: one of `SUBSETS`.
    duration_sec: length of the video.
    segments: `[start, end)` of the instances in seconds, in file order.
    labels: one for each segment.
    fps: frames per second of the video, where the file says so.
    feature_fps: snippets per second, where the file says so.
    ignore: `[start, end)` of the spans that nobody looked at, in file order.
  """

  video_id: str
  subset: str
  duration_sec: float | int
  segments: Float64[np.ndarray, 'n 2']
  labels: tuple[str, ...]
  fps: float | int | None = None
  feature_fps: float | int | None = None
  ignore: Float64[np.ndarray, 'k 2'] = dataclasses.field(
    default_factory=segments_lib.empty
  )

  def __post_init__(self):
    if len(self.labels) != len(self.segments):
      raise ValueError(
        f'{self.video_id}: {len(self.segments)} segments but '
        f'{len(self.labels)} labels'
      )

  def counted(self) -> 'Video':
    """Itself without the instances that lie mostly in ignored spans."""
    if not len(self.ignore):
      return self
    keep = ~segments_lib.mostly_within(self.segments, self.ignore)
    return _with_instances(self, np.flatnonzero(keep))

  def until(self, end_sec: float | int) -> 'Video':
    """Itself as if it had been cut off there.

    Instances that begin later are left out, others end there at the latest.
    """
    keep = np.flatnonzero(self.segments[:, 0] < end_sec)
    ignore = self.ignore[self.ignore[:, 0] < end_sec]
    return dataclasses.replace(
      _with_instances(self, keep),
      duration_sec=min(self.duration_sec, end_sec),
      segments=np.minimum(self.segments[keep], end_sec),
      ignore=np.minimum(ignore, end_sec),
    )

  @property
  def unknown(self) -> Float64[np.ndarray, 'k 2']:
    """Where it is not known what happens, by start.

    The ignored spans, but for what an instance that counts covers.
    """
    if not len(self.ignore):
      return self.ignore
    return segments_lib.without(self.ignore, self.counted().segments)


def _with_instances(video, keep):
  return dataclasses.replace(
    video,
    segments=video.segments[keep],
    labels=tuple(video.labels[k] for k in keep),
  )


@dataclasses.dataclass(frozen=True, eq=False)
class Annotations:
  """A data set's ground truth: `videos` by id, in file order."""

  version: str
  videos: dict[str, Video]

  @property
  def labels(self) -> tuple[str, ...]:
    """Every label that occurs, sorted."""
    found = {label for video in self.videos.values() for label in video.labels}
    return tuple(sorted(found))

  def subset(self, name: str) -> dict[str, Video]:
    """The videos of one subset, `Video.counted`.

    Raises:
      ValueError: if the name is none of `SUBSETS` or no video is in it.
    """
    counts = collections.Counter(v.subset for v in self.videos.values())
    has = ', '.join(f'{n} {subset}' for subset, n in counts.items())
    if name not in SUBSETS:
      raise ValueError(
        f'unknown subset {name!r}{checks.suggestion(name, SUBSETS)}, expected one '
        f'of {", ".join(SUBSETS)}; the file has {has}'
      )
    chosen = {
      k: v.counted() for k, v in self.videos.items() if v.subset == name
    }
    if not chosen:
      raise ValueError(f'no video in subset {name!r}; the file has {has}')
    return chosen

  def without_labels(self, names: Iterable[str]) -> 'Annotations':
    """The same videos without the instances of the named labels.

    Raises:
      ValueError: if a name is no label of this data set.
    """
    names = tuple(names)
    for name in names:
      if name not in self.labels:
        raise ValueError(
          f'unknown label {name!r}{checks.suggestion(name, self.labels)}, the '
          f'annotations have {", ".join(self.labels) or "none"}'
        )
    videos = {}
    for video_id, video in self.videos.items():
      keep = [k for k, label in enumerate(video.labels) if label not in names]
      videos[video_id] = _with_instances(video, keep)
    return Annotations(self.version, videos)


def unknown(
  videos: Mapping[str, Video],
) -> dict[str, Float64[np.ndarray, 'k 2']]:
  """`Video.unknown` of those videos that have ignored spans, by id."""
  return {k: v.unknown for k, v in videos.items() if len(v.ignore)}


def read(path: json_files.PathLike) -> Annotations:
  """The annotations in an ActivityNet JSON file.

  Repaired with an `AnnotationWarning`, one a kind and file: an end up to half
  a second (or one frame) past the duration is clipped, exact duplicates are
  kept once, a missing label becomes "action".

  Args:
    path: the file.
  Returns:
    the checked annotations.
  Raises:
    FileNotFoundError: if there is no such file.
    AnnotationError: on anything else, with every problem of the file by video
      and entry.
  """
  hint = '; launch.convert_annotations makes JSON'
  document = json_files.read(path, AnnotationError, hint)
  if dialects.is_dialect(document):
    document, notes = dialects.normalise(document, str(path))
    for note in notes:
      warnings.warn(f'{path}: {note}', AnnotationWarning, stacklevel=2)
  return parse(document, str(path))


def parse(
  document: object,
  source: str,
  names: Mapping[str, Iterable[str]] | None = None,
) -> Annotations:
  """The annotations in a document of the above form; see `read`.

  Args:
    document: what the JSON file holds.
    source: the file, for messages.
    names: for each video what to call its entries in messages (an importer's
      rows); `entry 1`, `entry 2`, … without it.
  Returns:
    the checked annotations.
  Raises:
    AnnotationError: with every problem of the document.
  """
  videos = {}
  for entry in checks.entries(document, source, names):
    rows = np.array(entry.rows, np.float64).reshape(-1, 2)
    videos[entry.video_id] = Video(
      video_id=entry.video_id,
      subset=entry.subset,
      duration_sec=entry.duration_sec,
      segments=rows,
      labels=entry.labels,
      fps=entry.fps,
      feature_fps=entry.feature_fps,
      ignore=np.array(entry.ignore, np.float64).reshape(-1, 2),
    )
  version = document.get('version', '')
  return Annotations(version if isinstance(version, str) else '', videos)


def write(path: json_files.PathLike, annotations: Annotations) -> None:
  """Writes an ActivityNet JSON file that `read` reads back exactly.

  The file is replaced at once; missing folders are made.
  """
  database = {}
  for video_id, video in annotations.videos.items():
    entry = {'subset': video.subset, 'duration': video.duration_sec}
    if video.fps is not None:
      entry['fps'] = video.fps
    if video.feature_fps is not None:
      entry['feature_fps'] = video.feature_fps
    entry['annotations'] = []
    for segment, label in zip(video.segments.tolist(), video.labels):
      item = {'segment': segment, 'label': label}
      if segment[1] > video.duration_sec:
        item['past_end'] = True
      entry['annotations'].append(item)
    if len(video.ignore):
      entry['ignore'] = video.ignore.tolist()
    database[video_id] = entry
  document = {'version': annotations.version, 'database': database}
  with replacing.file(path) as file:
    json.dump(document, file, indent=1, allow_nan=False)
    file.write('\n')
