"""A review as ActivityNet JSON that training takes, and as other files.

Beside `annotations` a recording has `"ignore": [[start, end], ...]`, seconds:
spans that nobody looked at, which are neither action nor background. What was
looked at: all of a recording that is done; what its annotations spoke of; spans
marked as seen; every decided proposal with half its length before and after
it, which is what the page shows of it; and what people added, as long as it is.
"""

import json
import os
from typing import Any

from cmsn_jax.annotations import activitynet
from cmsn_jax.files import event_formats, json_files, replacing
from cmsn_jax.review import edits, inputs

# A decided segment is shown, and so was looked at, with this share of its
# length on either side: where the paper's Ready and Follow lie.
CONTEXT = 0.5
_NO_LABEL = 'action'
# Shorter rests between spans that were looked at are rounding.
_LEAST_GAP_SEC = 0.05
FORMATS = (
  'csv', 'boris', 'elan', 'audacity', 'via', 'srt', 'webvtt', 'deepethogram',
)  # fmt: skip
_SUFFIXES = {'csv': '.csv', 'boris': '.boris'}


def context(item: edits.Item) -> tuple[float, float]:
  """What is shown of a segment when it is looked at; not below 0."""
  more = CONTEXT * (item.end - item.start)
  return max(0.0, item.start - more), item.end + more


def looked_at(
  recording: edits.Recording, source: inputs.Source
) -> list[edits.Span]:
  """Spans that somebody looked at, in order, within the recording."""
  if recording.done:
    return [(0.0, source.duration_sec)]
  decided = [
    (item.start, item.end) if item.source == 'person' else context(item)
    for item in recording.items.values()
    if item.status in ('accepted', 'rejected')
  ]
  spans = [*source.annotated, *recording.seen, *recording.marked, *decided]
  found = edits.union(spans, _LEAST_GAP_SEC)
  return [
    (start, min(end, source.duration_sec))
    for start, end in found
    if start < source.duration_sec
  ]


def kept(recording: edits.Recording) -> list[edits.Item]:
  """What is an annotation now, in the order of time."""
  found = [i for i in recording.items.values() if i.status in edits.KEPT]
  return sorted(found, key=lambda item: (item.start, item.end, item.label))


def document(
  recordings: dict[str, edits.Recording],
  sources: dict[str, inputs.Source],
  version: str,
) -> dict[str, Any]:
  """The reviewed recordings, and those that were annotated.

  Others that nobody looked at are left out.

  Args:
    recordings: as they are now, by id.
    sources: as they were given, by id.
    version: of the file.
  """
  labels = {
    item.label
    for recording in recordings.values()
    for item in kept(recording)
    if item.label
  }
  # A class-agnostic proposal is one of the only class there is.
  default = labels.pop() if len(labels) == 1 else _NO_LABEL
  database = {}
  for recording_id, recording in recordings.items():
    looked = looked_at(recording, sources[recording_id])
    if looked or sources[recording_id].known:
      database[recording_id] = _entry(
        recording, sources[recording_id], looked, default
      )
  return {'version': version, 'database': database}


def _entry(recording, source, looked, default):
  entry = {'subset': source.subset, 'duration': source.duration_sec}
  if source.stated_fps is not None:
    entry['fps'] = source.stated_fps
  if source.feature_fps is not None:
    entry['feature_fps'] = source.feature_fps
  entry['annotations'] = [
    _row(item, source, default) for item in kept(recording)
  ]
  entry['ignore'] = [
    [start, end]
    for start, end in edits.complement(looked, source.duration_sec)
    if end - start > _LEAST_GAP_SEC
  ]
  rejected = [i for i in recording.items.values() if i.status == 'rejected']
  by = {item.by for item in recording.items.values() if item.by}
  entry['review'] = {
    'done': recording.done,
    'by': sorted(by),
    'rejected': [
      _row(item, source, default)
      for item in sorted(rejected, key=lambda item: (item.start, item.end))
    ],
  }
  return entry


def _row(item, source, default):
  row = {
    'segment': [item.start, item.end],
    'label': item.label or default,
    'source': item.source,
  }
  if item.end > source.duration_sec:
    row['past_end'] = True
  if item.score is not None:
    row['score'] = item.score
  if item.by:
    row['by'] = item.by
  return row


def write(path: json_files.PathLike, found: dict[str, Any]) -> None:
  """Writes a document that `activitynet.read` reads; replaced at once.

  A review that has no recording yet writes nothing: no reader takes an empty
  database.
  """
  if not found['database']:
    return
  with replacing.file(path, durable=True) as file:
    json.dump(found, file, indent=1, allow_nan=False, ensure_ascii=False)
    file.write('\n')


def target(path: json_files.PathLike, kind: str) -> str:
  """The file or folder that `export` writes beside the output `path`.

  Raises:
    ValueError: on an unknown format.
  """
  if kind not in FORMATS:
    raise ValueError(
      f'format must be one of {", ".join(FORMATS)}, got {kind!r}'
    )
  stem = os.path.splitext(os.fspath(path))[0]
  return stem + _SUFFIXES.get(kind, f'_{kind}')


def export(
  path: json_files.PathLike,
  kind: str,
  recordings: dict[str, edits.Recording],
  sources: dict[str, inputs.Source],
) -> str:
  """Writes what is annotated now as files of another program.

  Args:
    path: of the review's own output; the new name is made from it.
    kind: one of `FORMATS`.
    recordings: as they are now, by id.
    sources: as they were given, by id.
  Returns:
    the file or folder that was written.
  Raises:
    ValueError: on an unknown format, or without any annotation.
  """
  written = target(path, kind)
  videos, about = {}, {}
  for recording_id, recording in recordings.items():
    source, items = sources[recording_id], kept(recording)
    if not items:
      continue
    videos[recording_id] = [
      event_formats.Event(
        item.start,
        item.end,
        item.label or event_formats.NO_LABEL,
        1.0 if item.score is None else item.score,
      )
      for item in items
    ]
    about[recording_id] = event_formats.About(
      source.duration_sec,
      source.fps,
      source.video.name if source.video else '',
    )
  if not videos:
    raise ValueError('nothing is accepted yet, so there is nothing to write')
  event_formats.write(written, kind, videos, about)
  return written


def check(path: json_files.PathLike) -> activitynet.Annotations:
  """The written file as every other command will read it."""
  return activitynet.read(path)
