"""What the frozen stage network says of every training window, on disk.

The evaluator trains on it, so the extractor and the stage network run once a
window instead of once a window and epoch (Sec. 3.4: both are frozen then).
"""

import json
import pathlib
import shutil
from typing import Any, NamedTuple

import jax
import numpy as np

from cmsn_jax import processes, progress, segments
from cmsn_jax.chains.paper import predictor as predictor_lib
from cmsn_jax.data import windows as windows_lib
from cmsn_jax.files import replacing
from cmsn_jax.scoring import targets


class Entry(NamedTuple):
  """A window: hidden features [t, c], candidates [n] and their best tIoU."""

  hidden: np.ndarray
  starts: np.ndarray
  ends: np.ndarray
  tiou: np.ndarray


class HiddenCache:
  """Reads the entries that `build` wrote; the arrays are memory-mapped."""

  def __init__(self, directory: pathlib.Path):
    self._directory = directory
    parts = json.loads((directory / 'parts.json').read_text())['parts']
    self._parts = parts
    self._hidden = [
      np.load(directory / f'hidden-{k}.npy', mmap_mode='r')
      for k in range(parts)
    ]
    self._candidates = [
      dict(np.load(directory / f'candidates-{k}.npz')) for k in range(parts)
    ]

  @property
  def channels(self) -> int:
    """Hidden features a snippet."""
    return self._hidden[0].shape[2]

  def entry(self, index: int) -> Entry:
    """The entry of the index-th window."""
    row, part = divmod(index, self._parts)
    found = self._candidates[part]
    begin, end = found['offsets'][row : row + 2]
    return Entry(
      np.asarray(self._hidden[part][row]),
      found['starts'][begin:end],
      found['ends'][begin:end],
      found['tiou'][begin:end],
    )

  def tiou_counts(self, edges: np.ndarray) -> np.ndarray:
    """Number of candidates between neighbouring tIoU edges, all windows."""
    tiou = np.concatenate([c['tiou'] for c in self._candidates])
    return np.histogram(tiou, edges)[0]


def build(
  directory: pathlib.Path,
  predictor: predictor_lib.Predictor,
  source: Any,
  windows: list[windows_lib.Window],
  segments_sec: dict[str, np.ndarray],
  unknown_sec: dict[str, np.ndarray],
  length: int,
  *,
  quiet: bool = False,
) -> HiddenCache:
  """Writes the cache, each process its share of the windows, and opens it.

  Args:
    directory: emptied first; seen by all processes.
    predictor: of the trained stage network.
    source: snippets of all videos.
    windows: all training windows, in the same order in every process.
    segments_sec: video id -> ground truth [n, 2] in seconds of the source's grid.
    unknown_sec: video id -> spans [n, 2] of which it is not known what happens
      there: candidates mostly within them are neither good nor poor.
    length: snippets of a full window.
    quiet: show no progress.
  """
  process, count = jax.process_index(), jax.process_count()
  if process == 0:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
  processes.barrier('hidden cache emptied')
  own = windows[process::count]
  hidden, columns, offsets = None, ([], [], []), [0]
  scores = predictor.score_windows(source, own)
  scores = progress.bar(
    scores, 'evaluator: candidates', len(own), unit='window', quiet=quiet
  )
  for row, (window, found) in enumerate(zip(own, scores, strict=True)):
    if hidden is None:
      shape = (len(own), length, found.hidden.shape[1])
      hidden = np.lib.format.open_memmap(
        directory / f'hidden-{process}.npy', 'w+', np.float32, shape
      )
    hidden[row, : len(found.hidden)] = found.hidden
    candidates = predictor.candidates(found.probabilities)
    proposals = segments.snippets_to_sec(
      candidates.starts + window.start,
      candidates.ends + window.start,
      source.feature_fps,
    )
    tiou = targets.best_tiou(proposals, segments_sec[window.video_id])
    judged = ~segments.mostly_within(proposals, unknown_sec[window.video_id])
    for column, values in zip(
      columns, (candidates.starts, candidates.ends, tiou), strict=True
    ):
      column.append(values[judged])
    offsets.append(offsets[-1] + int(judged.sum()))
  if hidden is not None:
    hidden.flush()
  np.savez(
    directory / f'candidates-{process}.npz',
    offsets=np.array(offsets),
    starts=np.concatenate([*columns[0], np.zeros(0, np.int64)]).astype(
      np.int32
    ),
    ends=np.concatenate([*columns[1], np.zeros(0, np.int64)]).astype(np.int32),
    tiou=np.concatenate([*columns[2], np.zeros(0)]).astype(np.float32),
  )
  processes.barrier('hidden cache written')
  if process == 0:
    with replacing.file(directory / 'parts.json') as file:
      json.dump({'parts': min(count, len(windows))}, file)
  processes.barrier('hidden cache complete')
  return HiddenCache(directory)
