"""Proposals: ActivityNet's result JSON, and CSV.

{"version": "…", "external_data": …, "results": {
  "<id>": [{"segment": [start, end], "score": x}, …]}}    best first, seconds
"""

import csv
import dataclasses
import json
import warnings
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64

from cmsn_jax.files import json_files, replacing, video_ids

_MAX_SHOWN = 100


class ProposalFileError(ValueError):
  """Everything that is wrong in one proposals file (`problems`)."""

  def __init__(self, message: str, problems: tuple[str, ...] = ()):
    self.problems = tuple(problems) or (message,)
    lines = [f'  {problem}' for problem in problems[:_MAX_SHOWN]]
    if len(problems) > _MAX_SHOWN:
      lines.append(f'  … and {len(problems) - _MAX_SHOWN} more')
    super().__init__('\n'.join([message, *lines]))


class ProposalFileWarning(UserWarning):
  """Something in a proposals file is legal but odd."""


@dataclasses.dataclass(frozen=True, eq=False)
class Proposals:
  """One video's proposals, best first.

  Attributes:
    segments: `[start, end)` in seconds.
    scores: descending; any finite numbers.
  """

  segments: Float64[np.ndarray, 'n 2']
  scores: Float64[np.ndarray, ' n']

  def __post_init__(self):
    if len(self.segments) != len(self.scores):
      raise ValueError(
        f'{len(self.segments)} segments but {len(self.scores)} scores'
      )

  def best_first(self) -> 'Proposals':
    """The same proposals by descending score; ties keep their order."""
    if (self.scores[1:] <= self.scores[:-1]).all():
      return self
    order = np.argsort(-self.scores, kind='stable')
    return Proposals(self.segments[order], self.scores[order])


def read(path: json_files.PathLike) -> dict[str, Proposals]:
  """The proposals in an ActivityNet result JSON file, best first.

  Segments of no length and starts before 0 are kept, with one warning: other
  systems write them and their tIoU is well defined.

  Args:
    path: the file.
  Returns:
    proposals by video id, in file order.
  Raises:
    FileNotFoundError: if there is no such file.
    ProposalFileError: on anything malformed, with every problem by video and
      entry.
  """
  hint = '; give the .json that launch.propose wrote'
  document = json_files.read(path, ProposalFileError, hint)
  results, problems, odd = {}, [], 0
  for video_id, entries in _results(document, path).items():
    bad_id = video_ids.problem(video_id)
    if bad_id:
      problems.append(f'{video_ids.shown(video_id)}: the video id {bad_id}')
      continue
    if not isinstance(entries, list):
      problems.append(
        f'{video_id}: found {json_files.shown(entries)}, expected a list of '
        'proposals'
      )
      continue
    proposals = _array(entries)
    if proposals is None:
      problems.extend(_entry_problems(video_id, entries))
      continue
    starts, ends = proposals.segments.T
    odd += int(((starts == ends) | (starts < 0)).sum())
    results[video_id] = proposals.best_first()
  if problems:
    raise ProposalFileError(
      f'{path}: {json_files.problems_found(len(problems))}', tuple(problems)
    )
  if odd:
    warnings.warn(
      f'{path}: {odd} proposals of no length or with a start before 0, kept as '
      'they are',
      ProposalFileWarning,
      stacklevel=2,
    )
  return results


def write(
  path: json_files.PathLike,
  results: Mapping[str, Proposals],
  version: str = 'cmsn_jax',
  external_data: dict | None = None,
) -> None:
  """Writes a file that `read` reads back exactly; replaced at once.

  Args:
    path: the file; missing folders are made.
    results: proposals by video id.
    version: what made them.
    external_data: ActivityNet's field about pre-training; None for none used.
  Raises:
    ValueError: on an id that cannot be one, or numbers that are not finite.
  """
  _check(results)
  if external_data is None:
    external_data = {'used': False, 'details': ''}
  with replacing.file(path) as file:
    # Piece by piece: all proposals of a large corpus as Python objects would
    # take many times the memory of their arrays.
    file.write(f'{{"version": {json.dumps(version)},\n')
    file.write(f'"external_data": {json.dumps(external_data)},\n"results": {{')
    for k, (video_id, proposals) in enumerate(results.items()):
      proposals = proposals.best_first()
      rows = zip(proposals.segments.tolist(), proposals.scores.tolist())
      entries = [{'segment': row, 'score': score} for row, score in rows]
      file.write(',\n' if k else '\n')
      file.write(f'{json.dumps(video_id)}: {json.dumps(entries)}')
    file.write('\n}}\n')


def write_csv(
  path: json_files.PathLike, results: Mapping[str, Proposals]
) -> None:
  """Writes rows of video, start, end (seconds) and score, best first a video.

  Raises:
    ValueError: as `write`.
  """
  _check(results)
  with replacing.file(path) as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(['video', 'start', 'end', 'score'])
    for video_id, proposals in results.items():
      proposals = proposals.best_first()
      for (start, end), score in zip(
        proposals.segments.tolist(), proposals.scores.tolist()
      ):
        writer.writerow([video_id, start, end, score])


def _check(results: Mapping[str, Proposals]) -> None:
  for video_id, proposals in results.items():
    video_ids.check(video_id)
    if not (
      np.isfinite(proposals.segments).all()
      and np.isfinite(proposals.scores).all()
    ):
      raise ValueError(
        f'{video_id}: proposals have numbers that are not finite'
      )


def _results(document: object, path: json_files.PathLike) -> dict:
  expected = 'expected {"results": {"<video id>": [{"segment": [start, end], "score": x}]}}'
  if not isinstance(document, dict) or 'results' not in document:
    what = json_files.shown(document)
    if isinstance(document, dict) and 'database' in document:
      what = 'an annotations file ("database")'
    raise ProposalFileError(f'{path}: found {what}, {expected}')
  results = document['results']
  if not isinstance(results, dict):
    raise ProposalFileError(
      f'{path}: found {json_files.shown(results)} as "results", {expected}'
    )
  return results


def _numbers(values: list) -> np.ndarray | None:
  # numpy would read a text as a number when told the dtype, so let it choose.
  try:
    array = np.array(values)
  except (ValueError, OverflowError):  # ragged
    return None
  if array.size and array.dtype.kind not in 'fiu':
    return None
  array = array.astype(np.float64)
  return array if np.isfinite(array).all() else None


def _array(entries: list) -> Proposals | None:
  """The entries as arrays, None where any of them is malformed."""
  try:
    rows = _numbers([entry['segment'] for entry in entries])
    scores = _numbers([entry['score'] for entry in entries])
  except (TypeError, KeyError):
    return None
  if rows is None or scores is None:
    return None
  n = len(entries)
  if n == 0:
    return Proposals(rows.reshape(0, 2), scores.reshape(0))
  if rows.shape != (n, 2) or scores.shape != (n,):
    return None
  if (rows[:, 1] < rows[:, 0]).any():
    return None
  return Proposals(rows, scores)


def _entry_problems(video_id: str, entries: list) -> list[str]:
  problems = []
  for k, entry in enumerate(entries):
    where = f'{video_id}, entry {k + 1}'
    if not isinstance(entry, dict):
      problems.append(
        f'{where}: found {json_files.shown(entry)}, expected '
        '{"segment": [start, end], "score": x}'
      )
      continue
    pair = entry.get('segment')
    values = (
      [json_files.number(value) for value in pair]
      if isinstance(pair, list) and len(pair) == 2
      else [None]
    )
    if None in values:
      problems.append(
        f'{where}: found segment {json_files.shown(pair)}, expected '
        '[start, end] in seconds'
      )
    elif values[1] < values[0]:
      problems.append(
        f'{where}: found [{values[0]:g}, {values[1]:g}], expected the start '
        'before the end'
      )
    if json_files.number(entry.get('score')) is None:
      problems.append(
        f'{where}: found score {json_files.shown(entry.get("score"))}, '
        'expected a number'
      )
  return problems or [f'{video_id}: numbers mixed with true or false']
