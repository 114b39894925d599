"""What a reader of an annotation format hands on, and how it was asked to."""

import collections
import dataclasses
import warnings
from collections.abc import Mapping

from cmsn_jax.annotations import checks, lengths

BAD = ('error', 'drop', 'clip')
UNITS = (
  'auto', 'seconds', 'milliseconds', 'minutes', 'hours', 'days', 'frames',
  'fraction',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Options:
  """What a user may say about annotations; see `launch.convert_annotations`.

  Attributes:
    subset: of recordings for which the file states none.
    fps: frames a second of the recordings, where the file counts frames.
    unit: of times whose unit the file does not state; 'auto': seconds.
    columns: what a column means, by its name: {'video': 'Media'}.
    where: only rows that have one of these values in a column.
    labels_from: columns that make the label together.
    decimal: '.' or ',', where a table does not show which.
    point_events: what to do with events without duration: seconds to widen
      them to, or 'drop'; None: as --bad says, or drop them where the format
      has a kind of its own for them.
    background: labels a frame that mean "nothing".
    recording: name of the one recording that the file is about.
  """

  subset: str = 'training'
  fps: float | int | None = None
  unit: str = 'auto'
  columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
  where: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  labels_from: tuple[str, ...] = ()
  decimal: str | None = None
  point_events: float | int | str | None = None
  background: tuple[str, ...] = ()
  recording: str = ''

  def __post_init__(self):
    if self.subset not in checks.SUBSETS:
      raise ValueError(
        f'subset must be one of {", ".join(checks.SUBSETS)}, got '
        f'{self.subset!r}'
      )
    if self.unit not in UNITS:
      raise ValueError(
        f'unit must be one of {", ".join(UNITS)}, got {self.unit!r}'
      )
    if isinstance(self.point_events, str) and self.point_events != 'drop':
      raise ValueError(
        f"point_events must be 'drop' or seconds, got {self.point_events!r}"
      )
    if isinstance(self.point_events, (int, float)) and self.point_events <= 0:
      raise ValueError(
        f'point_events must be positive, got {self.point_events}'
      )
    if self.fps is not None and not 0 < self.fps <= 1e6:
      raise ValueError(f'fps must be positive, got {self.fps}')


@dataclasses.dataclass(frozen=True)
class Instance:
  """An instance and the place that it was read from.

  Attributes:
    start_sec: start, in seconds once units are known.
    end_sec: its end.
    label: what happens.
    where: row or entry, for messages.
    past_end: whether it may lie behind the recording's end.
  """

  start_sec: float | int
  end_sec: float | int
  label: str
  where: str
  past_end: bool = False


@dataclasses.dataclass
class Recording:
  """What a file says of one recording; None: nothing.

  Attributes:
    name: as the file has it: perhaps a path, with a suffix.
    instances: in file order.
    duration_sec: seconds.
    num_frames: likewise in frames.
    likely_sec: a duration that may be that of the annotated part only, taken
      where there is no other.
    fps: frames a second of the recording.
    feature_fps: snippets a second of its features.
    subset: one of `checks.SUBSETS`.
    ignore: spans that nobody looked at, in the unit of the instances.
  """

  name: str
  instances: list[Instance] = dataclasses.field(default_factory=list)
  duration_sec: float | int | None = None
  num_frames: int | None = None
  likely_sec: float | int | None = None
  fps: float | int | None = None
  feature_fps: float | int | None = None
  subset: str | None = None
  ignore: list[Instance] = dataclasses.field(default_factory=list)


class Imported:
  """The contents of an annotation file, before they are checked together.

  Attributes:
    source: the file.
    unit: of all times; None where the file does not say.
    notes: what was chosen, for the user: one line each.
    duration_hint: why a duration that seems to be there was not taken.
    past_end_known: whether the data set is known to have instances behind the
      end of their recordings (THUMOS14), which are kept.
    bad: what is wrong with entries that make no instance, one line each.
    wrong: likewise with what is said of whole recordings, which cannot be left
      out.
    warnings: what looks wrong, for the user.
    left_out: places of entries that were not taken, by reason.
    version: of the data set, where the file says.
  """

  def __init__(self, source: str, unit: str | None = None):
    self.source = source
    self.unit = unit
    self.version = ''
    self.notes: list[str] = []
    self.recordings: dict[str, Recording] = {}
    self.duration_hint = ''
    self.past_end_known = False
    self.bad: list[str] = []
    self.wrong: list[str] = []
    self.warnings: list[str] = []
    self.left_out: dict[str, list[str]] = collections.defaultdict(list)

  def recording(self, name: str) -> Recording:
    """The recording of that name, made where there is none yet."""
    if name not in self.recordings:
      self.recordings[name] = Recording(name)
    return self.recordings[name]

  def add(
    self,
    name: str,
    start: float | int,
    end: float | int,
    label: str,
    where: str,
  ) -> None:
    """Adds an instance; without a label it is one of "action"."""
    self.recording(name).instances.append(
      Instance(start, end, label or checks.NO_LABEL, where)
    )

  def add_point(
    self, name: str, at: float | int, label: str, where: str, options: Options
  ) -> None:
    """Adds an event without duration, or counts it as left out."""
    self.recording(name)
    if not isinstance(options.point_events, (int, float)):
      kind = 'events without duration (--point_events=SECONDS widens them)'
      self.left_out[kind].append(f'{where}: {label} at {at:g}')
      return
    self.add(name, *widened(at, options.point_events), label, where)

  def state(self, name: str, where: str, **values: object) -> None:
    """Says something of a recording; a contradiction is wrong."""
    recording = self.recording(name)
    for key, value in values.items():
      if value is None:
        continue
      before = getattr(recording, key)
      if before is None:
        setattr(recording, key, value)
      elif before != value:
        shown = key.removesuffix('_sec')
        self.wrong.append(
          f'{where}: found {shown} {value}, earlier rows of this video have '
          f'{before}'
        )


def replaced(options: Options, **changes: object) -> Options:
  """The options with some of them changed."""
  return dataclasses.replace(options, **changes)


def widened(
  at: float | int, seconds: float | int
) -> tuple[float | int, float | int]:
  """A span of so many seconds around a moment, not before the recording."""
  start = max(0.0, at - seconds / 2)
  return start, start + seconds


def raise_all(source: str, problems: list[str]) -> None:
  """Says all that is wrong with a source at once.

  Raises:
    AnnotationError: if there are any problems.
  """
  if problems:
    raise checks.AnnotationError(
      f'{source}: {len(problems)} problem{"s"[: len(problems) > 1]} found',
      tuple(problems),
    )


def warn(message: str) -> None:
  """Warns the caller of a reader."""
  warnings.warn(message, checks.AnnotationWarning, stacklevel=4)


def entry(subset: str, length: lengths.Length, items: list) -> dict:
  """A video's entry as ActivityNet has it; `items` are its instances."""
  entry = {'subset': subset, 'duration': length.duration_sec}
  if length.fps:
    entry['fps'] = length.fps
  return {**entry, 'annotations': items}


def some(names: list[str]) -> str:
  """The first five different names, for a message."""
  names = list(dict.fromkeys(names))
  return ', '.join(names[:5]) + (', …' if len(names) > 5 else '')


def subset_of(text: str) -> str | None:
  """Our name of a subset in any usual spelling; None where it is none."""
  text = text.strip().lower()
  for end in (' set', ' split', '_set', '-set'):
    text = text.removesuffix(end)
  return checks.SUBSET_NAMES.get(text)
