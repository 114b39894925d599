"""What reviewers do to the segments of one recording, and how it is undone.

A recording is a dictionary of items. An action makes a patch (what each changed
item was and is); undo applies it backwards, redo forwards. Nothing here knows
of files or time: the same actions on the same items give the same recording,
which is what the journal lives by.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cmsn_jax import segments

# open: a proposal nobody has decided about; given: an annotation that was there.
STATUSES = ('open', 'given', 'accepted', 'rejected')
# Items that are written as annotations.
KEPT = ('given', 'accepted')
# Two cuts of a frame's length leave something to look at on either side.
_SHORTEST_SEC = 1e-3
_DONE, _MARKED = '#done', '#marked'
# Beside its items, what of a recording an action can change.
_OF_RECORDING = {_DONE: 'done', _MARKED: 'marked'}


# Start and end, seconds.
Span = tuple[float | int, float | int]


class Item(NamedTuple):
  """A segment under review.

  Attributes:
    start: seconds.
    end: seconds, after `start`.
    label: what happens; '' where nothing is said.
    score: of the proposal; None for what people made.
    status: one of `STATUSES`.
    source: 'proposal', 'annotation' or 'person'.
    by: who decided last; '' for nobody.
  """

  start: float
  end: float
  label: str = ''
  score: float | None = None
  status: str = 'open'
  source: str = 'proposal'
  by: str = ''


class ActionError(ValueError):
  """An action that cannot be done; nothing was changed."""


# Key (an item's id, '#done', '#marked') -> what it was and what it is; None: not
# there.
Patch = dict[str, tuple[Any, Any]]


@dataclasses.dataclass
class Recording:
  """One recording's items, whether it is done, and the way here.

  Attributes:
    items: by id.
    done: all of it was looked at.
    seen: spans that were looked at beside those of decided items, in seconds:
      what was played, which nobody needs to undo.
    marked: spans that somebody said to have looked at, which can be undone.
  """

  items: dict[str, Item]
  done: bool = False
  seen: list[tuple[float, float]] = dataclasses.field(default_factory=list)
  marked: tuple[Span, ...] = ()
  _past: list[Patch] = dataclasses.field(default_factory=list)
  _future: list[Patch] = dataclasses.field(default_factory=list)

  @property
  def can_undo(self) -> bool:
    """Whether there is something to undo."""
    return bool(self._past)

  @property
  def can_redo(self) -> bool:
    """Whether something was undone, and nothing done since."""
    return bool(self._future)

  def act(self, action: Mapping[str, Any], number: int) -> Patch:
    """Does one action.

    Args:
      action: `action` names it; `by` who does it; the rest is its own.
      number: of the action in the journal: new items are called by it.
    Returns:
      what changed, for whoever shows the recording.
    Raises:
      ActionError: where it cannot be done; the recording stays as it was.
    """
    name = action.get('action')
    if name == 'undo':
      return self._back()
    if name == 'redo':
      return self._forth()
    if name == 'seen':
      self.seen = union([*self.seen, *map(span, _spans(action))])
      return {}
    make = _ACTIONS.get(name) if isinstance(name, str) else None
    if make is None:
      raise ActionError(
        f'unknown action {name!r}, expected one of {", ".join(ACTIONS)}'
      )
    after = make(self, action, number)
    patch = {
      key: (self._value(key), value)
      for key, value in after.items()
      if self._value(key) != value
    }
    if patch:
      self._apply(patch)
      self._past.append(patch)
      self._future.clear()
    return patch

  def copied(self) -> 'Recording':
    """As it is now, whatever is done to this one."""
    return Recording(
      dict(self.items), self.done, list(self.seen), self.marked,
      list(self._past), list(self._future),
    )  # fmt: skip

  def _back(self) -> Patch:
    if not self._past:
      raise ActionError('nothing to undo in this recording')
    patch = self._past.pop()
    self._future.append(patch)
    turned = {key: (after, before) for key, (before, after) in patch.items()}
    self._apply(turned)
    return turned

  def _forth(self) -> Patch:
    if not self._future:
      raise ActionError('nothing to redo in this recording')
    patch = self._future.pop()
    self._past.append(patch)
    self._apply(patch)
    return patch

  def _value(self, key: str) -> Any:
    if key in _OF_RECORDING:
      return getattr(self, _OF_RECORDING[key])
    return self.items.get(key)

  def _apply(self, patch: Patch) -> None:
    for key, (_, after) in patch.items():
      if key in _OF_RECORDING:
        setattr(self, _OF_RECORDING[key], after)
      elif after is None:
        del self.items[key]
      else:
        self.items[key] = after

  def item(self, key: object) -> Item:
    """An item by its id.

    Raises:
      ActionError: where there is none.
    """
    found = self.items.get(key) if isinstance(key, str) else None
    if found is None:
      raise ActionError(f'no segment {key!r} in this recording')
    return found


def span(pair: Any) -> tuple[float, float]:
  """A segment from outside, checked.

  Raises:
    ActionError: where it is none.
  """
  try:
    start, end = (float(value) for value in pair)
  except (TypeError, ValueError):
    raise ActionError(
      f'found segment {pair!r}, expected [start, end] in seconds'
    ) from None
  if not (math.isfinite(start) and math.isfinite(end) and start >= 0):
    raise ActionError(f'[{start:g}, {end:g}]: times must be finite, from 0 on')
  if end - start < _SHORTEST_SEC:
    raise ActionError(f'[{start:g}, {end:g}] has no length')
  return start, end


def union(spans: Iterable[Span], gap: float | int = 0.0) -> list[Span]:
  """The spans in order, those that touch or overlap as one.

  Args:
    spans: (start, end), any order.
    gap: spans no farther apart become one too.
  """
  found: list[Span] = []
  for start, end in sorted(spans):
    if found and start <= found[-1][1] + gap:
      found[-1] = (found[-1][0], max(found[-1][1], end))
    else:
      found.append((start, end))
  return found


def complement(spans: Iterable[Span], duration_sec: float | int) -> list[Span]:
  """What of [0, duration) is in none of the spans."""
  whole = np.array([[0.0, duration_sec]])
  taken = np.array(list(spans), np.float64).reshape(-1, 2)
  return [(s, e) for s, e in segments.without(whole, taken).tolist()]


def _by(action: Mapping[str, Any]) -> str:
  name = action.get('by', '')
  if not isinstance(name, str) or len(name) > 80:
    raise ActionError('"by" must be a name of at most 80 characters')
  return name


def _label(action: Mapping[str, Any]) -> str:
  label = action.get('label', '')
  if not isinstance(label, str) or len(label) > 200:
    raise ActionError('"label" must be a text of at most 200 characters')
  return label.strip()


def _spans(action: Mapping[str, Any]) -> list:
  spans = action.get('segments')
  if not isinstance(spans, list) or not spans:
    raise ActionError(
      f'"{action["action"]}" needs "segments", a list of [start, end]'
    )
  return spans


def _chosen(recording, action) -> dict[str, Item]:
  """The segments that an action is about: "items", or the one "item"."""
  keys = action.get('items') or [action.get('item')]
  if not isinstance(keys, list):
    raise ActionError('"items" must be a list of segments')
  return {key: recording.item(key) for key in keys}


def _decided(status: str) -> Callable:
  def make(recording, action, number):
    del number
    return {
      key: item._replace(status=status, by=_by(action))
      for key, item in _chosen(recording, action).items()
    }

  return make


def _reopen(recording, action, number):
  del number
  key = action.get('item')
  item = recording.item(key)
  status = 'given' if item.source == 'annotation' else 'open'
  return {key: item._replace(status=status, by='')}


def _change(recording, action, number):
  """New borders; whoever moves a border says that the segment is right."""
  del number
  key = action.get('item')
  start, end = span(action.get('segment'))
  return {
    key: recording.item(key)._replace(
      start=start, end=end, status='accepted', by=_by(action)
    )
  }


def _name(recording, action, number):
  del number
  changed = {'label': _label(action), 'status': 'accepted', 'by': _by(action)}
  return {
    key: item._replace(**changed)
    for key, item in _chosen(recording, action).items()
  }


def _add(recording, action, number):
  start, end = span(action.get('segment'))
  made = Item(
    start, end, _label(action), None, 'accepted', 'person', _by(action)
  )
  return {f'e{number}': made}


def _split(recording, action, number):
  key, at = action.get('item'), action.get('at')
  item = recording.item(key)
  if isinstance(at, bool) or not isinstance(at, (int, float)):
    raise ActionError(f'"at" must be a time in seconds, got {at!r}')
  if not item.start + _SHORTEST_SEC <= at <= item.end - _SHORTEST_SEC:
    raise ActionError(
      f'{at:g} s is not inside of the segment [{item.start:g}, {item.end:g}]'
    )
  made = item._replace(status='accepted', source='person', by=_by(action))
  return {
    key: None,
    f'e{number}': made._replace(end=float(at)),
    f'e{number}b': made._replace(start=float(at)),
  }


def _merge(recording, action, number):
  keys = action.get('items')
  if not isinstance(keys, list) or len(set(map(str, keys))) < 2:
    raise ActionError('"merge" needs "items", two segments or more')
  items = [recording.item(key) for key in keys]
  scores = [item.score for item in items if item.score is not None]
  made = Item(
    min(item.start for item in items),
    max(item.end for item in items),
    next((item.label for item in items if item.label), ''),
    max(scores, default=None),
    'accepted',
    'person',
    _by(action),
  )
  return {**dict.fromkeys(keys), f'e{number}': made}


def _set_done(recording, action, number):
  del recording, number
  value = action.get('done', True)
  if not isinstance(value, bool):
    raise ActionError('"done" must be true or false')
  return {_DONE: value}


def _look(recording, action, number):
  del number
  return {
    _MARKED: tuple(union([*recording.marked, *map(span, _spans(action))]))
  }


_ACTIONS = {
  'accept': _decided('accepted'),
  'reject': _decided('rejected'),
  'reopen': _reopen,
  'change': _change,
  'label': _name,
  'add': _add,
  'split': _split,
  'merge': _merge,
  'done': _set_done,
  'look': _look,
}
ACTIONS = (*_ACTIONS, 'seen', 'undo', 'redo')
