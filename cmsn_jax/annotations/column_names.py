"""What the name of a table's column says: its meaning, and its unit."""

import dataclasses
import re
import unicodedata

from cmsn_jax.files import cell_values

ROLES = (
  'video', 'start', 'end', 'label', 'subset', 'duration', 'bout_duration',
  'fps', 'annotator', 'subject', 'score',
)  # fmt: skip
# In messages: what a user calls a role.
SHOWN = {'video': 'recording', 'bout_duration': "the event's duration"}
# Names of a role, most certain first; words as `_words` gives them.
_NAMES: dict[str, tuple[str, ...]] = {
  'video': (
    'video|video id|video name|video file|video filename|video file name|vid|'
    'video uid|video path|videoid|videoname|recording|recording id|movie|'
    'recording name|recording file|media|media file|media file name|media id|'
    'media filename|media name|videos',
    'file|filename|file name|filepath|file path|clip|clip id|clip name|'
    'clip uid|path|source file|datei|aufnahme|fichier|enregistrement|archivo|'
    'grabacion',
    'id|name|session|session id|session name|trial|trial id|observation|'
    'observation id|sample|sequence',
  ),
  'start': (
    'start|begin|onset|from|init|starts|begins|onsets|in|beginn|anfang|start '
    'at|debut|inicio|started',
  ),
  'end': (
    'end|stop|offset|to|finish|ends|stops|offsets|out|ende|fin|end at|ended|'
    'until|stopped',
  ),
  'label': (
    'label|labels|label name|behavior|behaviour|behaviors|behaviours|'
    'behavior name|behaviour name|action|actions|action name|activity|'
    'activity name|class|class name|classname|label text|event label|'
    'event name|verhalten|comportement|comportamiento|conducta|labelname|action label|'
    'gesture|gesture name',
    'category|category name|type|type name|event|event type|annotation|code|'
    'trial type|value|tag|text|state|description|verb|kind|sentence|phase|'
    'annotations|events|tier',
    'label id|label idx|label index|class id|class idx|class index|type idx|'
    'category id|action id|behavior id|behaviour id|type id|event id|'
    'event code|label number|class number|action class',
  ),
  'subset': ('subset|split|set|partition|subset name',),
  'duration': (
    'video duration|media duration|recording duration|file duration|'
    'total duration|clip duration|movie duration|session duration|'
    'video length|media length|recording length|file length|total length|'
    'duration video|duration of video|duration of recording|video seconds|'
    'movie length|length of video|video len|duration total',
  ),
  # Of the recording or of the event: its values tell.
  'some_duration': ('duration|length|dauer|duree|duracion|durations|dur',),
  'bout_duration': (
    'event duration|bout duration|behavior duration|behaviour duration|'
    'action duration|duration of event|bout length|event length|'
    'segment duration|segment length|instance duration',
  ),
  'fps': (
    'fps|frame rate|framerate|video fps|frames per second|fps frame s|'
    'video frame rate|frame rate fps|media fps',
  ),
  'annotator': (
    'annotator|coder|rater|experimenter|observer|annotator id|coder id|'
    'rater id|annotator name|annotated by|coded by|scorer|analyst',
  ),
  'subject': ('subject|subject id|animal|animal id|individual|focal subject',),
  'score': ('score|confidence|probability',),
}  # fmt: skip
_RANKS = {
  words: (role, rank)
  for role, ranks in _NAMES.items()
  for rank, names in enumerate(ranks)
  for words in names.split('|')
}
_EVENT_WORDS = (
  'time', 'segment', 'event', 'bout', 'action', 'behavior', 'behaviour',
  'temporal', 'instance', 'position', 'timestamp', 'annotation', 'of', 'the',
  'label', 't', 'activity', 'gesture',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Column:
  """A column: its place and name, what the name says it means.

  Attributes:
    index: place in the row.
    name: as the header has it.
    role: one of `ROLES`, 'some_duration' or '' for anything else.
    rank: how certain the name is; 0 is best.
    unit: that the name states, or None.
  """

  index: int
  name: str
  role: str = ''
  rank: int = 0
  unit: str | None = None


def words_of(name: str) -> list[str]:
  """The words of a name in small letters, without accents."""
  text = unicodedata.normalize('NFKD', name)
  text = ''.join(c for c in text if not unicodedata.combining(c))
  text = re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', text).lower()
  return re.findall(r'[^\W_]+', text)


def understand(index: int, name: str) -> Column:
  """What a column's name says."""
  words = words_of(name)
  found = _RANKS.get(' '.join(words))
  if found:
    return Column(index, name, *found)
  datavyu = re.fullmatch(r'[^.]+\.(onset|offset)', name.strip().lower())
  if datavyu:  # Datavyu counts milliseconds.
    role = 'start' if datavyu[1] == 'onset' else 'end'
    return Column(index, name, role, 0, 'milliseconds')
  if words[:2] == ['time', 'offset']:  # BORIS: of the whole observation
    return Column(index, name)
  words, unit = _unit(name, words)
  found = _RANKS.get(' '.join(words))
  if found is None and len(words) > 1:
    bare = [word for word in words if word not in _EVENT_WORDS]
    found = _RANKS.get(' '.join(bare))
    if found and found[0] not in ('start', 'end'):
      found = None
  if found is None:
    joined = ''.join(words)
    for extra in ('time', 'frame', 'sec', 'seconds', 'ms'):
      stem = joined.removesuffix(extra)
      if stem != joined and _RANKS.get(stem, ('',))[0] in ('start', 'end'):
        found = _RANKS[stem]
        unit = unit or cell_values.UNIT_WORDS.get(extra)
  if found is None or unit and found[0] in ('video', 'label', 'subset'):
    return Column(index, name, unit=unit)
  return Column(index, name, *found, unit)


def _unit(name: str, words: list[str]) -> tuple[list[str], str | None]:
  """The words without those that say a unit, and that unit."""
  if re.search(r'h+:?m+:?s+', name.lower()) and 'hms' not in words:
    kept = [w for w in words if not re.fullmatch(r'h+|m+|s+|ms|f+|hmsf?', w)]
    return kept, 'clock'
  if words[-2:] in (['ss', 'msec'], ['ss', 'ms'], ['s', 'ms']):
    return words[:-2], 'seconds'
  if words[-1:] == ['sf']:  # The Observer: seconds with a fraction
    return words[:-1], 'seconds'
  for k in (len(words) - 1, 0):
    if len(words) > 1 and words[k] in cell_values.UNIT_WORDS:
      rest = words[:k] + words[k + 1 :]
      return rest, cell_values.UNIT_WORDS[words[k]]
  if len(words) > 1 and words[0] in ('f', 't'):
    return words[1:], 'frames' if words[0] == 'f' else None
  return words, None
