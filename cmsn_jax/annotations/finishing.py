"""From what a reader found to checked annotations: what all formats share."""

import collections
import dataclasses
from collections.abc import Callable, Mapping

from cmsn_jax.annotations import (
  activitynet,
  checks,
  imported,
  recording_names,
  units,
)
from cmsn_jax.annotations import lengths as video_lengths
from cmsn_jax.files import cell_values, video_ids

MATCH = ('exact', 'loose')


@dataclasses.dataclass(frozen=True)
class Policy:
  """What to do where things do not fit.

  Attributes:
    bad: 'error', 'drop' or 'clip' entries that make no instance; 'clip' keeps
      the part of an instance that is inside its recording.
    match: 'exact', or 'loose' for names that differ in spelling only.
    unannotated: 'keep' recordings that only the durations name, without
      events, or 'drop' them.
    past_end: 'keep' or 'drop' instances that begin after the end of their
      recording, in data sets that are known to have such (THUMOS14).
  """

  bad: str = 'error'
  match: str = 'exact'
  unannotated: str = 'keep'
  past_end: str = 'keep'

  def __post_init__(self):
    for name, known in (
      ('bad', imported.BAD), ('match', MATCH), ('unannotated', ('keep', 'drop')),
      ('past_end', ('keep', 'drop')),
    ):  # fmt: skip
      if getattr(self, name) not in known:
        raise ValueError(
          f'{name} must be one of {", ".join(known)}, got '
          f'{getattr(self, name)!r}'
        )


def finish(
  result: imported.Imported,
  lengths: Mapping[str, video_lengths.Length] | None,
  options: imported.Options,
  policy: Policy,
) -> tuple[activitynet.Annotations, list[str]]:
  """Checked annotations, and warnings; notes are added to `result`.

  Raises:
    AnnotationError: with every problem, and the flags that decide.
  """
  return _Finish(result, lengths or {}, options, policy).finish()


class _Finish:
  """One file's way from `Imported` to `Annotations`."""

  def __init__(self, result, lengths, options, policy):
    self._result, self._lengths = result, lengths
    self._options, self._policy = options, policy
    self._problems: list[str] = []
    # Ends behind the recording, and by how much the worst of all is.
    self._behind_end: list[str] = []
    self._most = 0.0
    self._likely: list[str] = []
    self._rates: set[float] = set()
    # Of bad entries, by cause: what was dropped or clipped.
    self._done: dict[str, list[str]] = collections.defaultdict(list)

  def finish(self) -> tuple[activitynet.Annotations, list[str]]:
    result = self._result
    if options_unit(self._options) and result.unit is not None:
      raise checks.AnnotationError(
        f'{result.source}: its times are in {result.unit}, which the file '
        f'says itself; leave --unit={self._options.unit} out'
      )
    recordings = self._matched(self._named())
    self._problems += result.wrong
    self._bad(result.bad)
    database, names, videos = {}, {}, {}
    for video_id, recording in recordings.items():
      entry, places = self._entry(video_id, recording)
      if entry is not None:
        database[video_id], names[video_id] = entry, places
        videos[video_id] = recording
    self._unannotated(database)
    self._raise()
    self._tell(videos)
    document = {'version': result.version, 'database': database}
    annotations = activitynet.parse(document, result.source, names)
    warnings = [*result.warnings, *self._much_lost(annotations)]
    if self._options.unit == 'auto' and result.unit is None:
      warnings += units.check(annotations, result.source)
    return annotations, warnings

  def _named(self) -> dict[str, imported.Recording]:
    """Recordings by id: names without folder and suffix."""
    found: dict[str, imported.Recording] = {}
    cut = []
    for name, recording in self._result.recordings.items():
      video_id = recording_names.plain(name)
      bad = video_ids.problem(video_id)
      if bad:
        where = recording.instances[0].where if recording.instances else name
        self._problems.append(
          f'{where}: video id {video_ids.shown(video_id)} {bad}'
        )
        continue
      if video_id in found:
        self._problems.append(
          f'{video_id}: both {found[video_id].name!r} and {name!r}: are they '
          'one recording? Rename one, or give both one name'
        )
        continue
      if video_id != name:
        cut.append(name)
      found[video_id] = recording
    if cut:
      self._result.notes.append(
        'recordings are named without folder and suffix: left out of '
        f'{len(cut)} names ({imported.some(cut)})'
      )
    return found

  def _matched(self, found: dict) -> dict[str, imported.Recording]:
    """Recordings by the ids that the durations have."""
    if not self._lengths:
      return found
    matched, changed = {}, []
    for video_id, recording in found.items():
      if video_id in self._lengths:
        matched[video_id] = recording
        continue
      alike = [
        other
        for other in recording_names.alike(video_id, self._lengths)
        if other not in found
      ]
      if alike and self._policy.match == 'loose':
        rivals = [other for other in alike if other in matched]
        if len(alike) > 1 or rivals:
          self._problems.append(
            f'{video_id}: may be {imported.some(alike)}; rename it'
          )
          continue
        changed.append(f'{video_id} → {alike[0]}')
        matched[alike[0]] = recording
      else:
        if alike:
          self._problems.append(
            f'{video_id}: no recording of that name where the durations are '
            f'from; did you mean {imported.some(alike)!r}? --match=loose takes '
            'names that differ in case, leading zeros, prefix or suffix only'
          )
          continue
        matched[video_id] = recording
    if changed:
      self._result.notes.append(
        f'{len(changed)} recordings matched loosely: {imported.some(changed)}'
      )
    return matched

  def _entry(self, video_id, recording) -> tuple[dict | None, list[str]]:
    length = self._lengths.get(video_id)
    fps = recording.fps or (length.fps if length else None)
    rate = self._options.fps or fps
    duration = recording.duration_sec
    if duration is None and recording.num_frames is not None:
      if rate is None:
        self._problems.append(
          f'{video_id}: counted in frames; say how many there are a second, '
          '--fps=25 or whatever it is'
        )
        return None, []
      duration = recording.num_frames / rate
    if duration is None and length is not None:
      duration = length.duration_sec
    last = max((one.end_sec for one in recording.instances), default=0.0)
    if duration is None and (recording.likely_sec or 0.0) >= last > 0:
      duration = recording.likely_sec
      self._likely.append(video_id)
    if duration is None:
      hint = self._result.duration_hint
      self._problems.append(
        f'{video_id}: no duration; add a column "duration" (seconds of the '
        'video) or give durations from another file or folder (--durations=)'
        + (f'; {hint}' if hint else '')
      )
      return None, []
    if duration <= 0:
      self._problems.append(
        f'{video_id}: found duration {duration:g}, expected a positive number'
      )
      return None, []
    if length is not None and length.duration_sec > 0:
      measured = length.duration_sec
      if abs(measured - duration) > max(0.5, 0.02 * duration):
        self._problems.append(
          f'{video_id}: the table says {duration:g} s, the files given for '
          f'durations say {measured:g} s; mend the column, or the rate of the '
          'features'
        )
        return None, []
    scale = self._scale(video_id, rate, duration)
    if scale is None:
      return None, []
    items, places = [], []
    for one in recording.instances:
      item = self._item(video_id, one, scale, duration, fps)
      if item is not None:
        items.append(item)
        places.append(one.where)
    entry = {
      'subset': recording.subset or self._options.subset,
      'duration': duration,
    }
    for key, value in (('fps', fps), ('feature_fps', recording.feature_fps)):
      if value:
        entry[key] = value
    spans = [
      self._item(video_id, one, scale, duration, fps)
      for one in recording.ignore
    ]
    spans = [one['segment'] for one in spans if one is not None]
    if spans:
      entry['ignore'] = spans
    return {**entry, 'annotations': items}, places

  def _scale(self, video_id, rate, duration) -> Callable[[float], float] | None:
    """What makes seconds of the recording's times; None: nothing can."""
    unit = self._result.unit or (options_unit(self._options) or 'seconds')
    if unit == 'fraction':
      return lambda time: time * duration
    if unit != 'frames':
      return lambda time: time * cell_values.SECONDS[unit]
    if rate is None:
      self._problems.append(
        f'{video_id}: its times are frame numbers, which must be divided by '
        'the frame rate: say how many frames there are a second, --fps=25 or '
        'whatever it is'
      )
      return None
    self._rates.add(rate)
    # A quotient, so that the last frame ends exactly where the duration does.
    return lambda time: time / rate

  def _item(self, video_id, one, scale, duration, rate) -> dict | None:
    """The instance as the JSON has it; None where it is bad and dropped."""
    start, end = scale(one.start_sec), scale(one.end_sec)
    item = {'segment': [start, end], 'label': one.label}
    if one.past_end and start < end:
      return {**item, 'past_end': True}
    where = f'{video_id}, {one.where}'
    shown = f'[{start:g}, {end:g}]'
    points = self._options.point_events
    if start == end and points is not None:
      if points == 'drop':
        self._done['of zero length, dropped'].append(f'{where} {shown}')
        return None
      start, end = imported.widened(start, points)
      end = min(end, duration) if start < duration else end
      item['segment'] = [start, end]
    if self._result.past_end_known and end > duration and start < end:
      return self._behind(where, item, start, duration)
    self._most = max(self._most, end / duration)
    cause, problem = _fault(start, end, duration, rate)
    if not cause:
      return item
    if self._policy.bad == 'error':
      found = self._behind_end if 'after' in cause else self._problems
      found.append(f'{where}: found {shown}{problem}')
      return None
    inside = [max(0.0, start), min(end, duration)]
    if self._policy.bad == 'clip' and inside[0] < inside[1]:
      self._done[f'{cause}, clipped'].append(f'{where} {shown}')
      return {**item, 'segment': inside}
    self._done[f'{cause}, dropped'].append(f'{where} {shown}')
    return None

  def _behind(self, where, item, start, duration) -> dict | None:
    """An instance of a data set that has some behind a recording's end."""
    if start < duration:
      self._done['that end after the recording, clipped'].append(where)
      return {**item, 'segment': [max(0.0, start), duration]}
    done = 'dropped' if self._policy.past_end == 'drop' else 'kept, marked'
    self._done[f'that begin after the recording, {done}'].append(where)
    return {**item, 'past_end': True} if done != 'dropped' else None

  def _bad(self, bad: list[str]) -> None:
    if self._policy.bad == 'error':
      self._problems += bad
    elif bad:
      self._done['unreadable or contradictory, dropped'] += bad

  def _unannotated(self, database: dict) -> None:
    """Adds the recordings that only the durations name."""
    missing = [name for name in self._lengths if name not in database]
    if not missing or self._problems or self._behind_end:
      return
    if self._policy.unannotated == 'drop':
      self._result.notes.append(
        f'{len(missing)} recordings without annotations left out: '
        f'{imported.some(missing)}'
      )
      return
    for name in missing:
      length = self._lengths[name]
      database[name] = imported.entry(self._options.subset, length, [])
    self._result.notes.append(
      f'{len(missing)} recordings have no events in the annotations and are '
      f'kept without, as {self._options.subset} ({imported.some(missing)}); if '
      'they were never annotated: --unannotated=drop'
    )

  def _raise(self) -> None:
    # One unit for all: the end that is farthest behind decides.
    hint = self._hint()
    self._problems += [problem + hint for problem in self._behind_end]
    if not self._problems:
      return
    instances = any('found [' in problem for problem in self._problems)
    remedy = ''
    if instances or self._result.bad:
      remedy = (
        '; mend the file, or leave such entries out with --bad=drop, or keep '
        'what is inside the recording with --bad=clip'
      )
    if any('before its end' in p or 'zero length' in p for p in self._problems):
      remedy += '; --point_events=1 makes events without length 1 s long'
    count = len(self._problems)
    raise checks.AnnotationError(
      f'{self._result.source}: {count} problem{"s"[: count > 1]} found{remedy}',
      tuple(self._problems),
    )

  def _much_lost(self, annotations: activitynet.Annotations) -> list[str]:
    """A warning where so much was dropped that the file may be misread."""
    kept = sum(len(video.segments) for video in annotations.videos.values())
    lost = sum(
      len(places)
      for cause, places in self._done.items()
      if cause.endswith(('dropped', 'clipped')) and 'begin after' not in cause
    )
    if lost < 5 or lost < 0.2 * (kept + lost):
      return []
    return [
      f'{self._result.source}: {lost} entries were dropped or clipped, {kept} '
      f'are there{self._hint() if self._most > 2 else ""}'
    ]

  def _hint(self) -> str:
    """What the times may be, of which some end behind the recording."""
    if self._result.unit != 'seconds' or self._most < 10:
      return checks.unit_hint(self._most)
    # The file states the unit: another one is no explanation.
    return (
      ': are they times of day, or of another recording? Expected times from '
      'the beginning of the recording'
    )

  def _tell(self, recordings: Mapping[str, imported.Recording]) -> None:
    notes = self._result.notes
    for kind, places in self._result.left_out.items():
      notes.append(f'left out: {len(places)} {kind}; first: {places[0]}')
    for cause, places in self._done.items():
      notes.append(f'{len(places)} {cause}; first: {places[0]}')
    if self._likely:
      notes.append(
        f'the durations of {len(self._likely)} recordings are those of the '
        f'observation ({imported.some(self._likely)}): if only a part was '
        'observed, give --durations='
      )
    if self._result.unit is None:
      unit = options_unit(self._options)
      notes.append(
        f'times are in {unit}, as --unit says'
        if unit
        else 'times are taken as seconds (another unit: --unit=)'
      )
    elif self._result.unit == 'frames':
      shown = ', '.join(f'{rate:g}' for rate in sorted(self._rates)[:5])
      notes.append(f'times are frame numbers at {shown} a second')


def options_unit(options: imported.Options) -> str | None:
  """The unit that the user states, or None."""
  return None if options.unit == 'auto' else options.unit


def _fault(
  start: float | int,
  end: float | int,
  duration: float | int,
  rate: float | int | None,
) -> tuple[str, str]:
  """What is wrong with a segment: the cause, and the end of its message."""
  if end < start:
    return 'that end before they start', ', expected the start before the end'
  if end == start:
    return (
      'of zero length',
      ', expected the start before the end: it has no length',
    )
  if start < 0:
    return (
      'that begin before the recording',
      f': begins {-start:g} s before 0, the start of the recording',
    )
  tolerance = max(checks.PAST_END_TOLERANCE_SEC, 1 / rate if rate else 0.0)
  if end - duration > tolerance or start >= duration:
    return (
      'that end after the recording',
      f' in a video of {duration:g} s',
    )
  return '', ''
