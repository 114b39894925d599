"""What a review begins with: recordings, their segments, videos and features."""

import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from cmsn_jax import progress
from cmsn_jax import segments as segments_lib
from cmsn_jax.annotations import activitynet
from cmsn_jax.files import (
  feature_files,
  json_files,
  proposal_files,
  stage_files,
)
from cmsn_jax.review import edits
from cmsn_jax.video import decoding, video_files

# Without a frame rate from anywhere borders snap to this.
_DEFAULT_FPS = 25.0


class ReviewWarning(UserWarning):
  """Something that was given cannot be shown."""


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
  """One recording as it was given.

  Attributes:
    recording_id: any text.
    duration_sec: length of its time axis.
    fps: frames a second, to which borders snap.
    subset: of `activitynet.SUBSETS`, for the output.
    items: proposals (p0, p1, ... best first) and annotations (a0, a1, ...).
    annotated: spans that the annotations speak of: nothing else happens there.
    known: there are annotations of it, if only that nobody looked at it.
    disagreement: of proposals in other files, by item; 0 to 1.
    stated_fps: what the annotations say, for the output.
    feature_fps: what the annotations say, for the output.
    video: its file.
  """

  recording_id: str
  duration_sec: float | int
  fps: float | int
  subset: str
  items: dict[str, edits.Item]
  annotated: tuple[edits.Span, ...] = ()
  known: bool = False
  disagreement: Mapping[str, float] = dataclasses.field(default_factory=dict)
  stated_fps: float | int | None = None
  feature_fps: float | int | None = None
  video: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Inputs:
  """All recordings of a review, and where more of them lies.

  Attributes:
    sources: by id.
    fingerprints: of what actions refer to, by the flag's name.
    labels: that occur, sorted, those named first.
    features: where curves come from.
    feature_fps: rows a second of `features`; None: by length.
    stages: folder of stage probabilities.
    videos: folder in which all shown files lie.
  """

  sources: dict[str, Source]
  fingerprints: dict[str, str]
  labels: tuple[str, ...]
  features: feature_files.FeatureStore | None = None
  feature_fps: float | int | None = None
  stages: pathlib.Path | None = None
  videos: pathlib.Path | None = None


def gather(
  proposals: Mapping[str, proposal_files.Proposals],
  *,
  annotations: json_files.PathLike | None = None,
  videos: json_files.PathLike | None = None,
  features: json_files.PathLike | None = None,
  feature_fps: float | int | None = None,
  stages: json_files.PathLike | None = None,
  members: tuple[Mapping[str, proposal_files.Proposals], ...] = (),
  labels: tuple[str, ...] = (),
  subset: str = 'training',
  quiet: bool = True,
) -> Inputs:
  """The recordings of a review: those with proposals or annotations.

  Args:
    proposals: by recording, seconds.
    annotations: an ActivityNet JSON file; it may have `ignore` spans.
    videos: a folder of `<id>.mp4`.
    features: what `feature_files.open_features` opens.
    feature_fps: rows a second of the features; None: as they say.
    stages: a folder of `<id>.npz`.
    members: proposals of other runs, whose scores may disagree.
    labels: names to choose from beside those that occur.
    subset: of recordings without annotations, in the output.
    quiet: show no progress.
  Raises:
    ValueError: where there is no recording, or a file is malformed.
  """
  known = activitynet.read(annotations).videos if annotations else {}
  store = None
  if features:
    store = feature_files.open_features(
      features, feature_fps=feature_fps or None
    )
  ids = list(dict.fromkeys([*proposals, *known]))
  if not ids:
    raise ValueError('nothing to review: no proposals and no annotations')
  files = _videos(videos, ids)
  lengths = _lengths(files, known, quiet)
  sources, beyond = {}, []
  for recording_id in ids:
    own = proposals.get(recording_id)
    video = known.get(recording_id)
    duration, fps = _time(recording_id, own, video, store, lengths)
    items = _proposed(own, duration, beyond) | _given(video)
    sources[recording_id] = Source(
      recording_id,
      duration,
      fps,
      video.subset if video else subset,
      items,
      annotated=_annotated(video),
      known=video is not None,
      disagreement=_disagreement(own, recording_id, members),
      stated_fps=video.fps if video else None,
      feature_fps=_rate(recording_id, video, store),
      video=files.get(recording_id),
    )
  if sum(beyond):
    warnings.warn(
      f'{sum(beyond)} proposals in {np.count_nonzero(beyond)} recordings have no '
      'length within their recording and are not shown; are the videos those '
      'that the proposals were made of?',
      ReviewWarning,
      stacklevel=2,
    )
  found = {i.label for s in sources.values() for i in s.items.values()}
  return Inputs(
    sources,
    {
      '--proposals': fingerprint(proposals),
      '--annotations': fingerprint(known),
    },
    tuple(dict.fromkeys([*labels, *sorted(found - {''})])),
    store,
    store.feature_fps if store else None,
    pathlib.Path(stages) if stages else None,
    pathlib.Path(videos) if videos else None,
  )


def fingerprint(videos: Mapping[str, Any]) -> str:
  """SHA-256 of segments and labels by id, wherever their file lies.

  Args:
    videos: `proposal_files.Proposals` or `activitynet.Video` by id.
  """
  digest = hashlib.sha256()
  for video_id in sorted(videos):
    video = videos[video_id]
    digest.update(repr((video_id, video.labels)).encode())
    digest.update(np.ascontiguousarray(video.segments).tobytes())
  return digest.hexdigest()


def _annotated(video):
  if video is None:
    return ()
  ignored = [edits.span(pair) for pair in video.ignore]
  return tuple(edits.complement(ignored, video.duration_sec))


def _proposed(own, duration, beyond):
  """Proposals inside of the recording; how many are not is added to `beyond`."""
  if own is None:
    return {}
  labels = own.labels or ('',) * len(own.scores)
  found = {}
  for k, ((start, end), score, label) in enumerate(
    zip(own.segments.tolist(), own.scores.tolist(), labels)
  ):
    # Starts before 0 and ends in a video's padding are legal in a proposals
    # file and nowhere on a time axis.
    start, end = max(0.0, start), min(end, duration)
    if end > start:
      found[f'p{k}'] = edits.Item(start, end, label, score)
  beyond.append(len(own.scores) - len(found))
  return found


def _given(video):
  if video is None:
    return {}
  return {
    f'a{k}': edits.Item(start, end, label, None, 'given', 'annotation')
    for k, ((start, end), label) in enumerate(
      zip(video.segments.tolist(), video.labels)
    )
  }


def _videos(folder, ids):
  """Files by id; those that lie elsewhere are not shown, and counted."""
  if not folder:
    return {}
  files = video_files.find_videos(folder)
  root = os.path.realpath(folder)
  found, outside = {}, []
  for recording_id in ids:
    file = files.get(recording_id)
    if file is None:
      continue
    if inside(root, file):
      found[recording_id] = file
    else:
      outside.append(file.name)
  if outside:
    warnings.warn(
      f'{folder}: {len(outside)} videos such as {outside[0]} are links that '
      'lead out of the folder and are not shown; give the folder they lie in',
      ReviewWarning,
      stacklevel=3,
    )
  elif not found:
    warnings.warn(
      f'{folder}: none of its {len(files)} videos (such as {min(files)!r}) is '
      f'named like one of the {len(ids)} recordings (such as {ids[0]!r})',
      ReviewWarning,
      stacklevel=3,
    )
  return found


def inside(root: str, file: json_files.PathLike) -> bool:
  """Whether a file, links followed, lies below a folder."""
  return os.path.realpath(file).startswith(os.path.realpath(root) + os.sep)


def _lengths(files, known, quiet):
  """(duration, frames a second) of the videos whose annotations do not say."""
  todo = {
    name: file
    for name, file in files.items()
    if name not in known or not known[name].fps
  }

  def probe(item):
    name, file = item
    try:
      info = decoding.probe(file, allow_damage=True)
    except ValueError as error:
      warnings.warn(str(error), ReviewWarning, stacklevel=1)
      return name, None
    return name, (info.duration_sec, info.fps)

  with (
    concurrent.futures.ThreadPoolExecutor(2) as pool,
    progress.bar(
      total=len(todo), desc='lengths', unit='video', quiet=quiet
    ) as bar,
  ):
    found = {}
    for name, value in pool.map(probe, todo.items()):
      bar.update()
      if value:
        found[name] = value
  return found


def _time(recording_id, own, video, store, lengths):
  """Duration and frames a second of a recording."""
  duration, fps = lengths.get(recording_id, (0.0, 0.0))
  if video is not None:
    duration, fps = video.duration_sec, video.fps or fps
  rate = store.feature_fps if store else None
  if not duration and store and recording_id in store and rate:
    duration = store.num_snippets(recording_id) / rate
  if not duration and own is not None:
    duration = float(own.segments.max(initial=0.0))
  return max(float(duration), 0.1), float(fps or rate or _DEFAULT_FPS)


def _rate(recording_id, video, store):
  """Rows a second, as the annotations or else the features say."""
  if video is not None:
    return video.feature_fps
  return store.feature_fps if store and recording_id in store else None


def _disagreement(own, recording_id, members):
  """How far the scores of the members are apart at each proposal.

  The standard deviation of the score and, of each member, of the score of its
  segment that fits best, weighted by how well it fits.
  """
  if own is None or not members:
    return {}
  columns = [own.scores]
  for member in members:
    other = member.get(recording_id)
    if other is None or not len(other.scores):
      columns.append(np.zeros(len(own.scores)))
      continue
    columns.append(_best_fit(own.segments, other))
  spread = np.std(np.stack(columns), axis=0) * 2
  return {f'p{k}': float(min(1.0, v)) for k, v in enumerate(spread)}


def _best_fit(segments, other):
  """For each segment the largest tIoU x score among the other's; blocked."""
  best = np.zeros(len(segments))
  for first in range(0, len(segments), 256):
    block = segments_lib.tiou(segments[first : first + 256], other.segments)
    best[first : first + 256] = (block * other.scores).max(axis=1)
  return best


def stages_of(
  inputs: Inputs, recording_id: str
) -> tuple[np.ndarray, float] | None:
  """Stage probabilities `[t, 6]` and snippets a second, where they are."""
  if inputs.stages is None:
    return None
  file = inputs.stages / f'{recording_id}.npz'
  return stage_files.read(file) if file.is_file() else None
