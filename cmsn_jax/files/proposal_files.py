"""Proposals: ActivityNet's result JSON, and CSV.

{"version": "…", "external_data": …, "results": {
  "<id>": [{"segment": [start, end], "score": x}, …]}}    best first, seconds

A row may say what happens, `"label": "…"`, and how sure that is,
`"label_score": p`: all rows of a video do, or none.
"""

import csv
import dataclasses
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float64, Int

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
    labels: what happens in each; None: not said.
    label_scores: how sure that is, any finite numbers; None: not said.
  """

  segments: Float64[np.ndarray, 'n 2']
  scores: Float64[np.ndarray, ' n']
  labels: tuple[str, ...] | None = None
  label_scores: Float64[np.ndarray, ' n'] | None = None

  def __post_init__(self):
    for name in ('scores', 'labels', 'label_scores'):
      given = getattr(self, name)
      if given is not None and len(given) != len(self.segments):
        raise ValueError(
          f'{len(self.segments)} segments but {len(given)} {name}'
        )
    if self.label_scores is not None and self.labels is None:
      raise ValueError('label_scores without labels')

  def __iter__(self) -> Iterator[np.ndarray]:
    """`segments, scores = proposals`."""
    return iter((self.segments, self.scores))

  def best_first(self) -> 'Proposals':
    """The same proposals by descending score; ties keep their order."""
    if (self.scores[1:] <= self.scores[:-1]).all():
      return self
    return self.take(np.argsort(-self.scores, kind='stable'))

  def take(self, indices: Int[np.ndarray, ' k']) -> 'Proposals':
    """Those of the proposals, in the order given."""
    labels, sure = self.labels, self.label_scores
    return Proposals(
      self.segments[indices],
      self.scores[indices],
      None if labels is None else tuple(labels[k] for k in indices),
      None if sure is None else sure[indices],
    )

  def rows(self) -> Iterator[dict]:
    """The proposals as they stand in a file."""
    columns = {'segment': self.segments.tolist(), 'score': self.scores.tolist()}
    if self.labels is not None:
      columns['label'] = self.labels
    if self.label_scores is not None:
      columns['label_score'] = self.label_scores.tolist()
    return (dict(zip(columns, row)) for row in zip(*columns.values()))


def read(path: json_files.PathLike) -> dict[str, Proposals]:
  """The proposals in an ActivityNet result JSON file, best first.

  A .jsonl has one a line, see `of_lines`.

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
  if is_lines(path):
    return parse(of_lines(path), path)
  hint = '; give the .json that launch.propose wrote'
  return parse(json_files.read(path, ProposalFileError, hint), path)


def is_lines(path: json_files.PathLike) -> bool:
  """Whether a file has a proposal a line, as launch.live writes it."""
  return os.fspath(path).lower().endswith('.jsonl')


def of_lines(path: json_files.PathLike) -> dict:
  """Lines {"video", "segment", "score"} as the document that `parse` takes.

  A last line without an end is still being written, and left out.

  Raises:
    FileNotFoundError: if there is no such file.
    ProposalFileError: on a line that is something else, naming it.
  """
  json_files.require_file(path, ProposalFileError)
  results = {}
  with open(path, encoding='utf-8', errors='replace') as file:
    for number, text in enumerate(file, start=1):
      if not text.endswith('\n'):
        break
      try:
        entry = json.loads(text)
        results.setdefault(entry['video'], []).append(entry)
      except (ValueError, TypeError, KeyError):
        raise ProposalFileError(
          f'{path}, line {number}: found {text.strip()[:60]!r}, expected '
          '{"video": id, "segment": [start, end], "score": x}'
        ) from None
  return {'results': results}


def parse(document: object, path: json_files.PathLike) -> dict[str, Proposals]:
  """The proposals in such a document; see `read`.

  Args:
    document: what the JSON file holds.
    path: the file, for messages.
  """
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
      stacklevel=3,
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
      entries = list(proposals.best_first().rows())
      file.write(',\n' if k else '\n')
      file.write(f'{json.dumps(video_id)}: {json.dumps(entries)}')
    file.write('\n}}\n')


def write_csv(
  path: json_files.PathLike, results: Mapping[str, Proposals]
) -> None:
  """Writes rows of video, start, end (seconds) and score, best first a video.

  Where any proposal has a label: also of label, and of its score.

  Raises:
    ValueError: as `write`.
  """
  _check(results)
  with replacing.file(path) as file:
    names = ['video', 'start', 'end', 'score', *_extra(results)]
    writer = csv.DictWriter(file, names, lineterminator='\n')
    writer.writeheader()
    for video_id, proposals in results.items():
      for row in proposals.best_first().rows():
        start, end = row.pop('segment')
        writer.writerow({'video': video_id, 'start': start, 'end': end, **row})


def _extra(results: Mapping[str, Proposals]) -> list[str]:
  """The columns about labels that any video has."""
  names = {'label': 'labels', 'label_score': 'label_scores'}
  return [
    column
    for column, name in names.items()
    if any(getattr(found, name) is not None for found in results.values())
  ]


def _check(results: Mapping[str, Proposals]) -> None:
  for video_id, proposals in results.items():
    video_ids.check(video_id)
    sure = proposals.label_scores
    if not (
      np.isfinite(proposals.segments).all()
      and np.isfinite(proposals.scores).all()
      and (sure is None or np.isfinite(sure).all())
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
  try:
    labels = _column(entries, 'label')
    sure = _column(entries, 'label_score')
  except KeyError:
    return None
  if labels is not None:
    if not all(isinstance(label, str) and label.strip() for label in labels):
      return None
    # The few names of a large file are kept once.
    labels = tuple(sys.intern(label.strip()) for label in labels)
  if sure is not None:
    sure = _numbers(sure)
    if labels is None or sure is None or sure.shape != (n,):
      return None
  return Proposals(rows, scores, labels, sure)


def _column(entries: list, name: str) -> list | None:
  """What all entries say; None where no one does.

  Raises:
    KeyError: where some do.
  """
  if not any(name in entry for entry in entries):
    return None
  return [entry[name] for entry in entries]


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
    problems.extend(_label_problems(where, entry, entries))
  return problems or [f'{video_id}: numbers mixed with true or false']


def _label_problems(where: str, entry: dict, entries: list) -> list[str]:
  problems = []
  others = [e for e in entries if isinstance(e, dict)]
  for name in ('label', 'label_score'):
    if name not in entry and any(name in other for other in others):
      problems.append(
        f'{where}: found no {name}, which other entries of the video have; '
        'give it in all of them or in none'
      )
  label = entry.get('label', '-')
  if not (isinstance(label, str) and label.strip()):
    problems.append(
      f'{where}: found label {json_files.shown(label)}, expected a name'
    )
  if 'label_score' in entry:
    if 'label' not in entry:
      problems.append(f'{where}: found a label_score without a label')
    if json_files.number(entry['label_score']) is None:
      problems.append(
        f'{where}: found label_score '
        f'{json_files.shown(entry["label_score"])}, expected a number'
      )
  return problems
