"""One review in progress: its recordings as they are, and who may change them."""

import datetime
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cmsn_jax.files import json_files
from cmsn_jax.review import edits, inputs, journal, output, ranking

# A window that was not heard of for so long has gone.
_LEASE_SEC = 15.0
# Recordings with the most to gain come first; a long one has more to look at.
_TOP = 20
# A gain below this is the model being sure, or a second look at one place.
_WORTH = 0.25


class ReadOnlyError(RuntimeError):
  """Another window or program works on this review."""


class Session:
  """A review: state, journal, output file.

  Args:
    given: what it begins with.
    path: the output, ActivityNet JSON; `<path>.journal` lies beside it.
    threshold: score at which a proposal would be taken, for the ranking.
    version: of the output file.
    clock: seconds; for the lease of windows.
    unchanged: files and folders that are never written.

  Attributes:
    given: what it began with.
    path: the output.
    recordings: as they are now, by id.
    number: of the last action.

  Raises:
    journal.JournalError: the output is there and was not made by a review that
      can be gone on with, or the journal is of other inputs.
  """

  def __init__(
    self,
    given: inputs.Inputs,
    path: json_files.PathLike,
    *,
    threshold: float = 0.5,
    version: str = 'cmsn_jax review',
    clock: Callable[[], float] = time.monotonic,
    unchanged: Iterable[json_files.PathLike] = (),
  ):
    self.given, self.path = given, path
    self.threshold, self._version, self._clock = threshold, version, clock
    self.recordings = {
      recording_id: edits.Recording(dict(source.items))
      for recording_id, source in given.sources.items()
    }
    self.number = 0
    self._ranked: dict[str, list[ranking.Ranked]] = {}
    self._holder, self._heard = '', 0.0
    self._written = -1
    self._unchanged = tuple(map(os.path.realpath, unchanged))
    if os.path.exists(path) and not os.path.exists(f'{path}.journal'):
      raise journal.JournalError(
        f'{path} is there already, without the journal of a review '
        f'({path}.journal), and would be overwritten; give it as --annotations '
        'to go on from it, and name another --output'
      )
    self.journal = journal.Journal(f'{path}.journal', given.fingerprints)
    for action in self.journal.actions:
      self._replay(action)

  @property
  def read_only(self) -> bool:
    """Whether another program works on this review."""
    return self.journal.read_only

  def _replay(self, action: Mapping[str, Any]) -> None:
    try:
      self._apply(action)
    except (KeyError, edits.ActionError) as error:
      raise journal.JournalError(
        f'{self.journal.path}, action {self.number + 1}: {error}; the journal '
        'was changed by hand or is of another version'
      ) from None

  def _apply(self, action: Mapping[str, Any]) -> edits.Patch:
    recording_id = action['recording']
    patch = self.recordings[recording_id].act(action, self.number + 1)
    self.number += 1
    self._ranked.pop(recording_id, None)
    return patch

  def refresh(self) -> None:
    """What the program that holds the review has done since."""
    if self.read_only:
      for action in self.journal.more():
        self._replay(action)

  def beat(self, window: str, take: bool = False) -> bool:
    """Whether a window may change things; the first one may.

    Args:
      window: its own random name.
      take: it wants to, whoever may now.
    """
    if self.read_only or not window:
      return False
    now = self._clock()
    gone = now - self._heard > _LEASE_SEC
    if take or not self._holder or gone or self._holder == window:
      self._holder, self._heard = window, now
      return True
    return False

  def leave(self, window: str) -> None:
    """A window was closed: the next one need not wait."""
    if window == self._holder:
      self._holder = ''

  def act(self, window: str, action: Mapping[str, Any]) -> edits.Patch:
    """Does an action and keeps it; it is on the disk when this returns.

    Args:
      window: that asks.
      action: `recording`, `action`, `by` and what belongs to it.
    Returns:
      what changed.
    Raises:
      ReadOnlyError: another window or program works on the review.
      edits.ActionError: it cannot be done.
      OSError: the disk is full; nothing was changed.
    """
    if not self.beat(window):
      raise ReadOnlyError('another window works on this review')
    recording_id = action.get('recording')
    if not isinstance(recording_id, str) or recording_id not in self.recordings:
      raise edits.ActionError(f'no recording {recording_id!r}')
    entry = self._inside(dict(action), self.given.sources[recording_id])
    entry['time'] = datetime.datetime.now(datetime.UTC).isoformat(
      'T', 'seconds'
    )
    # Tried on the recording first: what cannot be done is not written. Should
    # the disk refuse it, it is taken back, and nobody was told.
    recording = self.recordings[recording_id]
    before = recording.copied()
    patch = recording.act(entry, self.number + 1)
    try:
      self.journal.append(entry)
    except BaseException:
      self.recordings[recording_id] = before
      raise
    self.number += 1
    self._ranked.pop(recording_id, None)
    return patch

  def _inside(self, entry, source):
    """The action with its times inside of the recording."""
    entry.pop('window', None)

    def clipped(pair):
      start, end = edits.span(pair)
      return list(edits.span((start, min(end, source.duration_sec))))

    if 'segment' in entry:
      entry['segment'] = clipped(entry['segment'])
    if isinstance(entry.get('segments'), list):
      entry['segments'] = [clipped(pair) for pair in entry['segments']]
    return entry

  def ranked(self, recording_id: str) -> list[ranking.Ranked]:
    """What to look at next in a recording."""
    if recording_id not in self._ranked:
      source = self.given.sources[recording_id]
      recording = self.recordings[recording_id]
      self._ranked[recording_id] = ranking.rank(
        recording.items,
        output.looked_at(recording, source),
        source.duration_sec,
        threshold=self.threshold,
        disagreement=source.disagreement,
        done=recording.done,
      )
    return self._ranked[recording_id]

  def gain(self, recording_id: str) -> float:
    """What a look at a recording's best few segments is worth."""
    gains = [ranked.gain for ranked in self.ranked(recording_id)[:_TOP]]
    return sum(gains, 0.0)

  def worth_a_look(self, recording_id: str) -> int:
    """How many of a recording's segments a look may tell something about."""
    return sum(r.gain >= _WORTH for r in self.ranked(recording_id))

  def next_segments(self, count: int) -> list[tuple[str, ranking.Ranked]]:
    """The segments of all recordings that are most worth a look."""
    found = [
      (recording_id, ranked)
      for recording_id in self.recordings
      for ranked in self.ranked(recording_id)[:count]
    ]
    return sorted(found, key=lambda pair: -pair[1].gain)[:count]

  def document(self) -> dict[str, Any]:
    """What the output file holds now."""
    return output.document(self.recordings, self.given.sources, self._version)

  def write(self) -> bool:
    """Writes the output file if anything changed; whether it did."""
    if self.read_only or self._written == self.number:
      return False
    number = self.number
    output.write(self.path, self.document())
    self._written = number
    return True

  def check_export(self, kind: str) -> None:
    """Raises ValueError where `export` would write over what was read."""
    target = os.path.realpath(output.target(self.path, kind))
    for path in self._unchanged:
      if path == target or path.startswith(target + os.sep):
        raise ValueError(
          f'{kind} would be written to {target}, over what the review reads, '
          'which is never changed; start it with another --output'
        )

  def export(self, kind: str) -> str:
    """Writes what is annotated now as files of another program.

    Args:
      kind: one of `output.FORMATS`.
    Returns:
      the file or folder that was written.
    Raises:
      ValueError: on an unknown format, without any annotation, or where it
        would be written over what was read.
    """
    self.check_export(kind)
    return output.export(self.path, kind, self.recordings, self.given.sources)

  def close(self) -> None:
    """Writes the output and gives the lock back."""
    self.write()
    self.journal.close()
