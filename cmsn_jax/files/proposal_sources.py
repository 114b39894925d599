"""Proposals and detections of any program, as our own.

ActivityNet's result JSON (with or without `results`, scores as text, entries as
lists), ActionFormer's pickle of columns (nothing in it is run), and what
`proposal_tables` reads. Where there are no scores the order of the rows is the
score. What was chosen is said as a `ProposalFileWarning`.
"""

import math
import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from cmsn_jax.files import (
  json_files,
  proposal_files,
  proposal_tables,
  proposal_units,
  safe_pickle,
  video_ids,
)

ProposalFileError = proposal_files.ProposalFileError
Proposals = proposal_files.Proposals

_RESULTS = ('results', 'detect_results', 'proposals', 'predictions')
_PICKLE = {
  'video': ('video-id', 'video_id', 'video', 'video_name'),
  'start': ('t-start', 't_start', 'start'),
  'end': ('t-end', 't_end', 'end'),
  'score': ('score', 'scores'),
  'label': ('label', 'labels'),
}
_STARTS = ('start', 't_start', 't-start', 'start_time')
_ENDS = ('end', 't_end', 't-end', 'end_time')


def read(
  path: json_files.PathLike, clock: proposal_units.Clock | None = None
) -> dict[str, Proposals]:
  """The proposals in a file or folder, best first, in seconds.

  Args:
    path: the file or folder.
    clock: durations and rates of the videos, and what the user says of units.
  Raises:
    FileNotFoundError: if there is nothing at `path`.
    ProposalFileError: if it cannot be read, or its unit cannot be told.
  """
  path, clock = os.fspath(path), clock or proposal_units.Clock()
  if clock.unit not in proposal_units.UNITS:
    raise ValueError(
      f'the unit must be one of {", ".join(proposal_units.UNITS)}, got '
      f'{clock.unit!r}'
    )
  if os.path.isdir(path):
    return _finished(path, proposal_tables.read_folder(path), clock)
  json_files.require_file(path, ProposalFileError)
  with open(path, 'rb') as file:
    start = file.read(64)
  if path.lower().endswith(('.pkl', '.pickle')) or start[:1] == b'\x80':
    return _finished(path, _of_pickle(path), clock)
  if path.lower().endswith(('.json', '.jsonl')) or start.lstrip(
    b'\xef\xbb\xbf \r\n\t'
  )[:1] in (b'{', b'['):
    return _of_json(path, clock)
  return _finished(path, proposal_tables.read(path), clock)


def _of_json(path, clock) -> dict[str, Proposals]:
  hint = '; name it .csv'
  if proposal_files.is_lines(path):
    document = proposal_files.of_lines(path)
  else:
    document = json_files.read(path, ProposalFileError, hint)
  found = proposal_files.parse(_usual(document), path)
  found = _named_alike(path, found, clock)
  segments = proposal_units.seconds(
    path, {k: v.segments for k, v in found.items()}, clock, 'seconds'
  )
  return {
    k: Proposals(segments[k], v.scores, v.labels, v.label_scores)
    for k, v in found.items()
    if k in segments
  }


def _usual(document: object) -> object:
  """The document in the usual form, as far as that can be told."""
  results = document
  if isinstance(document, dict):
    key = next((key for key in _RESULTS if key in document), None)
    if 'database' in document:
      return document
    results = document[key] if key else document
    if not key and not _holds_lists(document):
      return document
  if isinstance(results, list):
    results = _grouped(results)
  if not isinstance(results, dict):
    return document
  return {
    'results': {
      video_id: _entries(entries) if isinstance(entries, list) else entries
      for video_id, entries in results.items()
    }
  }


def _holds_lists(document: dict) -> bool:
  return bool(document) and all(
    isinstance(entries, list)
    and all(isinstance(entry, (dict, list)) for entry in entries)
    for entries in document.values()
  )


def _grouped(entries: list) -> dict | None:
  """Entries that name their video themselves, by video."""
  grouped = {}
  for entry in entries:
    name = isinstance(entry, dict) and next(
      (entry[key] for key in _PICKLE['video'] if key in entry), None
    )
    if not isinstance(name, str):
      return None
    grouped.setdefault(name, []).append(entry)
  return grouped or None


def _entries(entries: list) -> list:
  found = [_entry(entry) for entry in entries]
  scored = [isinstance(e, dict) and 'score' in e for e in found]
  if found and not any(scored) and all(isinstance(e, dict) for e in found):
    # Rows stand in the order of their rank.
    found = [
      {**entry, 'score': score}
      for entry, score in zip(found, ranks(len(found)).tolist())
    ]
  return found


def _entry(entry: object) -> object:
  if isinstance(entry, list) and 2 <= len(entry) <= 3:
    numbers = [_number(value) for value in entry]
    made = {'segment': numbers[:2]}
    return {**made, 'score': numbers[2]} if len(entry) == 3 else made
  if not isinstance(entry, dict):
    return entry
  made = {k: entry[k] for k in ('label', 'label_score') if k in entry}
  segment = entry.get('segment')
  if segment is None:
    ends = [
      next((entry[key] for key in keys if key in entry), None)
      for keys in (_STARTS, _ENDS)
    ]
    segment = None if None in ends else ends
  if segment is not None:
    made['segment'] = (
      [_number(value) for value in segment]
      if isinstance(segment, list)
      else segment
    )
  if 'score' in entry:
    made['score'] = _number(entry['score'])
  if isinstance(made.get('label'), int):
    made['label'] = str(made['label'])
  return made


def _number(value: object) -> object:
  """A number written as text as that number; all else as it is."""
  if isinstance(value, str):
    try:
      number = float(value)
    except ValueError:
      return value
    return number if math.isfinite(number) and '_' not in value else value
  return value


def _of_pickle(path: str) -> proposal_tables.Raw:
  try:
    tree = safe_pickle.read(path)
  except ValueError as problem:
    raise ProposalFileError(str(problem)) from None
  if isinstance(tree, dict) and isinstance(tree.get('results'), dict):
    tree = tree['results']
  columns = {}
  if isinstance(tree, dict):
    for column, names in _PICKLE.items():
      key = next((name for name in names if name in tree), None)
      if key is not None:
        columns[column] = tree[key]
  lengths = {
    len(values) if isinstance(values, (list, tuple, np.ndarray)) else -1
    for values in columns.values()
  }
  if not {'video', 'start', 'end'} <= set(columns) or len(lengths) != 1:
    shown = list(map(str, tree))[:8] if isinstance(tree, dict) else type(tree)
    raise ProposalFileError(
      f'{path}: found a pickle of {str(shown)[:200]}, expected columns '
      '"video-id", "t-start", "t-end", "score" of one length, as ActionFormer '
      'writes them'
    )
  rows, problems = {}, []
  number = range(lengths.pop())
  scores = columns.get('score', [math.nan] * len(number))
  labels = columns.get('label', [''] * len(number))
  for k in number:
    name = columns['video'][k]
    row = _plain_row(columns['start'][k], columns['end'][k], scores[k])
    bad = video_ids.problem(name)
    if bad or row is None:
      problems.append(
        f'row {k}: the video id {bad}' if bad else f'row {k}: not a segment'
      )
      continue
    rows.setdefault(name, []).append((*row, str(labels[k]).strip()[:200]))
  if problems:
    raise ProposalFileError(
      f'{path}: {json_files.problems_found(len(problems))}', tuple(problems)
    )
  return proposal_tables.Raw(rows, 'seconds')


def _plain_row(start, end, score):
  try:
    row = float(start), float(end), float(score)
  except (TypeError, ValueError, OverflowError):
    return None
  if not (math.isfinite(row[0]) and math.isfinite(row[1])):
    return None
  return row if row[0] <= row[1] and not math.isinf(row[2]) else None


def ranks(count: int) -> np.ndarray:
  """Scores of rows that are in the order of their rank: 1, 1/2, 1/3, …"""
  return 1 / np.arange(1, count + 1)


def _finished(
  path: str, raw: proposal_tables.Raw, clock: proposal_units.Clock
) -> dict[str, Proposals]:
  """Columns of arrays in seconds, from rows in any unit."""
  segments, scores, labels, unscored = {}, {}, {}, 0
  for video_id, rows in _named_alike(path, raw.rows, clock).items():
    table = np.array([row[:3] for row in rows], np.float64).reshape(-1, 3)
    segments[video_id] = table[:, :2]
    scores[video_id] = table[:, 2]
    labels[video_id] = tuple(row[3] for row in rows)
    if np.isnan(table[:, 2]).any():
      scores[video_id] = ranks(len(rows))
      unscored += 1
  if not segments:
    raise ProposalFileError(f'{path}: found no proposal')
  if unscored:
    warnings.warn(
      f'{path}: no score in {unscored} of {len(segments)} videos: the order of '
      'their rows is taken as the ranking',
      proposal_files.ProposalFileWarning,
      stacklevel=3,
    )
  segments = proposal_units.seconds(
    path, segments, clock, raw.unit, _named_alike('', raw.num_frames, clock)
  )
  return {
    video_id: Proposals(
      rows,
      scores[video_id],
      labels[video_id] if all(labels[video_id]) and len(rows) else None,
    ).best_first()
    for video_id, rows in segments.items()
  }


def _named_alike(
  path: str, found: dict[str, Any], clock: proposal_units.Clock
) -> dict[str, Any]:
  """By the ids of the known videos, where only `v_` is in the way.

  ActivityNet's videos are named v_<id>, its results <id>.
  """
  known = clock.durations
  if not found or any(video_id in known for video_id in found):
    return found
  renamed = {k.removeprefix('v_'): v for k, v in found.items()}
  if not any(video_id in known for video_id in renamed):
    renamed = {f'v_{k}': v for k, v in found.items()}
  shared = sum(video_id in known for video_id in renamed)
  if len(renamed) < len(found) or not shared:
    return found
  if path:
    warnings.warn(
      f'{path}: its ids are taken with or without "v_" before them, as the '
      f'annotations have them ({shared} of {len(found)} are there)',
      proposal_files.ProposalFileWarning,
      stacklevel=4,
    )
  return renamed


def clock_of(
  videos: Mapping[str, object], fps: float | int = 0, unit: str = 'auto'
) -> proposal_units.Clock:
  """What annotations say of the videos' time.

  Args:
    videos: `activitynet.Video` by id, or anything with its `duration_sec` and
      `fps`.
    fps: frames a second of all, as the user says; 0: not said.
    unit: of the proposals, as the user says.
  """
  return proposal_units.Clock(
    {k: video.duration_sec for k, video in videos.items()},
    {k: video.fps for k, video in videos.items() if video.fps},
    fps,
    unit,
  )
