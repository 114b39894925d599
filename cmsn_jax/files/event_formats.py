"""Proposals as the files of annotation programs.

One file for all videos: csv, boris (.boris project, or a table of aggregated
events). One a video, in a folder: elan, audacity, via, srt, webvtt,
deepethogram. Times are kept to a millisecond at least.
"""

import csv
import datetime
import io
import json
import os
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from cmsn_jax.files import proposal_files, replacing

NO_LABEL = 'proposal'
_BACKGROUND = 'background'
# Characters that no XML may have.
_NOT_XML = re.compile('[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]')
# Frames of a label a frame: more would fill memory and no program reads them.
_MAX_FRAMES = 50_000_000


class Event(NamedTuple):
  """One proposal of a video, seconds."""

  start: float
  end: float
  label: str
  score: float


class About(NamedTuple):
  """What is known of a video beside its proposals.

  Attributes:
    duration_sec: 0: not known.
    fps: frames a second; 0: not known.
    media: name of its file.
  """

  duration_sec: float = 0.0
  fps: float = 0.0
  media: str = ''


def events_of(
  proposals: proposal_files.Proposals,
  *,
  top: int = 0,
  min_score: float | None = None,
) -> list[Event]:
  """The best proposals of a video as events, in the order of time.

  Args:
    proposals: of the video.
    top: how many at most; 0: all.
    min_score: lower ones are left out; None: none.
  """
  found = proposals.best_first()
  count = len(found.scores) if top <= 0 else min(top, len(found.scores))
  labels = found.labels or (NO_LABEL,) * len(found.scores)
  events = [
    Event(start, end, label, score)
    for (start, end), label, score in zip(
      found.segments[:count].tolist(), labels, found.scores[:count].tolist()
    )
    if min_score is None or score >= min_score
  ]
  return sorted(events)


def lanes(events: list[Event]) -> list[list[Event]]:
  """The events in as few rows as possible without overlap in any.

  Programs that know an event by its beginning and end cannot tell overlapping
  ones of one name apart.
  """
  rows: list[list[Event]] = []
  for event in sorted(events):
    for row in rows:
      if row[-1].end <= event.start:
        row.append(event)
        break
    else:
      rows.append([event])
  return rows


def write(
  path: str,
  kind: str,
  videos: Mapping[str, list[Event]],
  about: Mapping[str, About],
) -> list[str]:
  """Writes all videos' events; files are replaced at once.

  Args:
    path: a file (csv, boris), or a folder.
    kind: one of `KINDS`.
    videos: events by video id.
    about: durations, rates and names of files, by video id.
  Returns:
    the files written.
  Raises:
    ValueError: if a format needs what is not known, or no event is left.
  """
  if not any(videos.values()):
    raise ValueError('no proposal is left to be written; lower --min_score')
  if kind in _WHOLE:
    text = _WHOLE[kind](path, videos, about)
    with replacing.file(path) as file:
      file.write(text)
    return [path]
  suffix, render = _SINGLE[kind]
  texts = {}
  for video_id, events in videos.items():
    texts[os.path.join(path, f'{video_id}{suffix}')] = render(
      video_id, events, about.get(video_id, About())
    )
  for file_path, text in texts.items():
    with replacing.file(file_path) as file:
      file.write(text)
  return list(texts)


def _score(event: Event) -> str:
  return f'score {event.score:.6g}'


def _seconds(value: float) -> str:
  """A time to a tenth of a millisecond, without zeros at its end."""
  return f'{value:.4f}'.rstrip('0').rstrip('.')


def _table(rows: list[list], delimiter: str = ',') -> str:
  text = io.StringIO()
  csv.writer(text, delimiter=delimiter, lineterminator='\n').writerows(rows)
  return text.getvalue()


def _csv(path, videos, about) -> str:
  del path, about
  rows: list[list] = [['video', 'start', 'end', 'label', 'score']]
  for video_id, events in videos.items():
    rows += [[video_id, e.start, e.end, e.label, e.score] for e in events]
  return _table(rows)


def _media(video_id: str, about: Mapping[str, About]) -> str:
  return about.get(video_id, About()).media or f'{video_id}.mp4'


_BORIS_COLUMNS = (
  'Observation id', 'Observation date', 'Description', 'Observation type',
  'Source', 'Time offset (s)', 'Media duration (s)', 'FPS (frame/s)', 'Subject',
  'Behavior', 'Behavioral category', 'Modifiers', 'Behavior type', 'Start (s)',
  'Stop (s)', 'Duration (s)', 'Media file name', 'Comment start',
  'Comment stop',
)  # fmt: skip


def _boris(path, videos, about) -> str:
  if path.lower().endswith('.boris'):
    return _boris_project(videos, about)
  # A row has both ends, so that events may overlap.
  rows: list[list] = [list(_BORIS_COLUMNS)]
  for video_id, events in videos.items():
    known, media = about.get(video_id, About()), _media(video_id, about)
    for e in events:
      rows.append([
        video_id, _now(), '', 'Media file(s)', f'player #1:{media}', 0,
        _seconds(known.duration_sec) if known.duration_sec else 'NA',
        known.fps or 'NA', '', e.label, '', '', 'STATE', _seconds(e.start),
        _seconds(e.end), _seconds(e.end - e.start), media, _score(e), '',
      ])  # fmt: skip
  return _table(rows, ',' if path.lower().endswith('.csv') else '\t')


def _now() -> str:
  return datetime.datetime.now().strftime('%Y-%m-%d %H:%M:%S')


def _boris_project(videos, about) -> str:
  """A project of BORIS: it pairs the events of a name, so rows are subjects."""
  labels = sorted({e.label for events in videos.values() for e in events})
  most, observations = 1, {}
  for video_id, events in videos.items():
    known, media = about.get(video_id, About()), _media(video_id, about)
    found = []
    rows = lanes(events)
    most = max(most, len(rows))
    for number, row in enumerate(rows, start=1):
      for e in row:
        subject = f'row {number}'
        found.append([round(e.start, 4), subject, e.label, '', _score(e)])
        found.append([round(e.end, 4), subject, e.label, '', ''])
    observations[video_id] = {
      'file': {'1': [media], **{str(k): [] for k in range(2, 9)}},
      'type': 'MEDIA',
      'date': _now().replace(' ', 'T'),
      'description': '',
      'time offset': 0.0,
      'events': sorted(found, key=lambda event: event[0]),
      'observation time interval': [0, 0],
      'independent_variables': {},
      'visualize_spectrogram': False,
      'close_behaviors_between_videos': False,
      'media_info': {
        'length': {
          media: known.duration_sec or max((e.end for e in events), default=0.0)
        },
        'fps': {media: known.fps or 25.0},
        'hasVideo': {media: True},
        'hasAudio': {media: False},
      },
    }
  project = {
    'time_format': 'hh:mm:ss',
    'project_date': _now().replace(' ', 'T'),
    'project_name': 'proposals',
    'project_description': 'Rows are subjects, since proposals overlap.',
    'project_format_version': '7.0',
    'subjects_conf': {
      str(k): {'key': '', 'name': f'row {k + 1}', 'description': ''}
      for k in range(most)
    },
    'behaviors_conf': {
      str(k): {
        'type': 'State event', 'key': '', 'code': label, 'description': '',
        'color': '', 'category': '', 'modifiers': '', 'excluded': '',
        'coding map': '',
      }
      for k, label in enumerate(labels)
    },
    'observations': observations,
    'behavioral_categories': [],
    'independent_variables': {},
    'coding_map': {},
    'behaviors_coding_map': [],
    'converters': {},
  }  # fmt: skip
  return json.dumps(project, indent=1) + '\n'


def _elan(video_id: str, events: list[Event], about: About) -> str:
  """An .eaf: a tier a row of proposals; ELAN has no place for scores."""
  document = ElementTree.Element('ANNOTATION_DOCUMENT', {
    'AUTHOR': '', 'FORMAT': '3.0', 'VERSION': '3.0',
    'DATE': datetime.datetime.now().astimezone().isoformat(timespec='seconds'),
  })  # fmt: skip
  add = ElementTree.SubElement
  header = add(
    document, 'HEADER', {'MEDIA_FILE': '', 'TIME_UNITS': 'milliseconds'}
  )
  media = about.media or f'{video_id}.mp4'
  add(header, 'MEDIA_DESCRIPTOR', {
    'MEDIA_URL': f'file:///{media}', 'MIME_TYPE': 'video/mp4',
    'RELATIVE_MEDIA_URL': f'./{media}',
  })  # fmt: skip
  times = sorted({round(t * 1000) for e in events for t in (e.start, e.end)})
  slots = {time: f'ts{k}' for k, time in enumerate(times, start=1)}
  order = add(document, 'TIME_ORDER')
  for time, slot in slots.items():
    add(order, 'TIME_SLOT', {'TIME_SLOT_ID': slot, 'TIME_VALUE': str(time)})
  count = 0
  for number, row in enumerate(lanes(events), start=1):
    name = 'proposals' if number == 1 else f'proposals {number}'
    tier = add(document, 'TIER', {
      'LINGUISTIC_TYPE_REF': 'default-lt', 'TIER_ID': name,
    })  # fmt: skip
    for event in row:
      count += 1
      one = add(add(tier, 'ANNOTATION'), 'ALIGNABLE_ANNOTATION', {
        'ANNOTATION_ID': f'a{count}',
        'TIME_SLOT_REF1': slots[round(event.start * 1000)],
        'TIME_SLOT_REF2': slots[round(event.end * 1000)],
      })  # fmt: skip
      add(one, 'ANNOTATION_VALUE').text = _NOT_XML.sub(' ', event.label)
  add(document, 'LINGUISTIC_TYPE', {
    'GRAPHIC_REFERENCES': 'false', 'LINGUISTIC_TYPE_ID': 'default-lt',
    'TIME_ALIGNABLE': 'true',
  })  # fmt: skip
  ElementTree.indent(document)
  text = ElementTree.tostring(document, encoding='unicode')
  return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _audacity(video_id, events, about) -> str:
  del video_id, about
  # Of overlapping labels Audacity makes rows by itself.
  return ''.join(
    f'{e.start:.6f}\t{e.end:.6f}\t{_one_line(e.label)}\n' for e in events
  )


def _one_line(text: str) -> str:
  return ' '.join(text.split())


def _via(video_id, events, about) -> str:
  files = json.dumps([about.media or f'{video_id}.mp4'])
  names = (
    'metadata_id,file_list,temporal_segment_start,temporal_segment_end,metadata'
  )
  rows = [
    [
      f'1_{uuid.uuid5(uuid.NAMESPACE_OID, f"{video_id} {k}").hex[:8]}',
      files,
      _seconds(e.start),
      _seconds(e.end),
      json.dumps({'TEMPORAL-SEGMENTS': e.label}),
    ]
    for k, e in enumerate(events)
  ]
  text = io.StringIO()
  csv.writer(text, lineterminator='\n', quoting=csv.QUOTE_NONNUMERIC).writerows(
    [[row[0], row[1], float(row[2]), float(row[3]), row[4]] for row in rows]
  )
  return f'# CSV_HEADER = {names}\n{text.getvalue()}'


def _clock(sec: float, mark: str) -> str:
  milli = round(max(sec, 0.0) * 1000)
  hours, rest = divmod(milli, 3_600_000)
  minutes, rest = divmod(rest, 60_000)
  seconds, milli = divmod(rest, 1000)
  return f'{hours:02}:{minutes:02}:{seconds:02}{mark}{milli:03}'


def _cues(events, mark, text=str) -> str:
  return '\n'.join(
    f'{k}\n{_clock(e.start, mark)} --> {_clock(e.end, mark)}\n'
    f'{text(_one_line(e.label).replace("-->", "->"))} ({_score(e)})\n'
    for k, e in enumerate(events, start=1)
  )


def _srt(video_id, events, about) -> str:
  del video_id, about
  return _cues(events, ',')


def _webvtt(video_id, events, about) -> str:
  del video_id, about
  # Else it would read a label such as <b> as a tag.
  escape = lambda label: label.replace('&', '&amp;').replace('<', '&lt;')
  return f'WEBVTT\n\n{_cues(events, ".", escape)}'


def _deepethogram(video_id, events, about) -> str:
  """A column a label and a row a frame: 1 where it is, else background."""
  if not about.fps:
    raise ValueError(
      f'{video_id}: a label a frame needs the frames a second; give --fps, or '
      '"fps" in --annotations'
    )
  end = about.duration_sec or max((e.end for e in events), default=0.0)
  total = round(end * about.fps)
  if not 0 < total <= _MAX_FRAMES:
    raise ValueError(f'{video_id}: found {total} frames to be written')
  labels = sorted({e.label for e in events} - {_BACKGROUND})
  columns = np.zeros((total, len(labels) + 1), np.int8)
  centres = (np.arange(total) + 0.5) / about.fps
  for e in events:
    if e.label in labels:
      inside = slice(*np.searchsorted(centres, [e.start, e.end]))
      columns[inside, labels.index(e.label) + 1] = 1
  columns[:, 0] = ~columns.any(axis=1)
  rows = [['', _BACKGROUND, *labels]]
  rows += [[k, *row] for k, row in enumerate(columns.tolist())]
  return _table(rows)


_WHOLE: dict[str, Callable[..., str]] = {'csv': _csv, 'boris': _boris}
_SINGLE: dict[str, tuple[str, Callable[..., str]]] = {
  'elan': ('.eaf', _elan),
  'audacity': ('.txt', _audacity),
  'via': ('.csv', _via),
  'srt': ('.srt', _srt),
  'webvtt': ('.vtt', _webvtt),
  'deepethogram': ('_labels.csv', _deepethogram),
}
KINDS = (*_WHOLE, *_SINGLE)
# What a command adds to the name of its output.
SUFFIXES: dict[str, Any] = {
  'csv': '.csv',
  'boris': '.boris.tsv',
  **{kind: f'_{kind}' for kind in _SINGLE},
}
