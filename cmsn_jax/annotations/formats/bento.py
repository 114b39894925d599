"""Bento's .annot and the Caltech Behavior Annotator's text files."""

import re

from cmsn_jax.annotations import frame_labels, imported, recording_names, sample
from cmsn_jax.files import csv_tables

_BENTO = 'bento annotation file'
_CALTECH = 'caltech behavior annotator'
_NUMBERS = re.compile(
  r'(-?\d{1,12}(?:\.\d{1,12})?)\s+(-?\d{1,12}(?:\.\d{1,12})?)\b(.*)'
)


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  first = file.lines[0].strip().lower() if file.lines else ''
  if first.startswith(_BENTO):
    return 'a Bento annotation file'
  if first.startswith(_CALTECH):
    return 'a file of the Caltech Behavior Annotator'
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """Bouts of all channels; frames are counted from 1, stops inclusive."""
  result = imported.Imported(file.path, 'frames')
  first = file.lines[0].strip().lower() if file.lines else ''
  if first.startswith(_BENTO):
    _read_bento(file, result, options)
  elif first.startswith(_CALTECH):
    _read_caltech(file, result, options)
  else:
    raise csv_tables.TableError(
      f'{file.path}: expected a file that begins with "Bento annotation file" or '
      '"Caltech Behavior Annotator"'
    )
  return result


def _is_none(label: str, options) -> bool:
  return label.lower() == 'other' or frame_labels.is_background(
    label, options.background
  )


def _read_bento(file, result, options) -> None:
  facts, movies, lines = {}, [], file.text.splitlines()
  bouts, channel, label = [], '', ''
  for k, line in enumerate(lines):
    text = line.strip()
    match = re.match(
      r'(annotation (start frame|stop frame|framerate|stop time))\s*:\s*(\S+)',
      text,
      re.I,
    )
    if match:
      facts[match[2].lower()] = _number(match[3])
    elif text.lower().startswith('movie file'):
      rest = text.partition(':')[2].strip() or (
        lines[k + 1].strip() if k + 1 < len(lines) else ''
      )
      movies = rest.split()
    elif text.endswith('---'):
      channel, label = text.rstrip('-').strip(), ''
    elif text.startswith('>'):
      label = text[1:].strip()
    elif label and text and not text.lower().startswith('start'):
      found = _NUMBERS.match(text)
      if found:
        bouts.append((channel, label, found[1], found[2], f'line {k + 1}'))
      else:
        result.bad.append(
          f'line {k + 1}: found {text[:60]!r}, expected start and stop'
        )
  name = options.recording or (
    recording_names.plain(movies[0]) if movies else file.stem
  )
  rate = facts.get('framerate') or options.fps
  result.state(name, 'heading', fps=rate)
  in_seconds = any('.' in start + end for _, _, start, end, _ in bouts)
  channels = dict.fromkeys(channel for channel, *_ in bouts)
  kept = options.where.get('channel')
  for channel, label, start, end, where in bouts:
    if (kept and channel not in kept) or _is_none(label, options):
      continue
    shift = 0.0 if in_seconds else 1.0
    result.add(name, float(start) - shift, float(end), label, where)
  if in_seconds:
    result.unit = 'seconds'
    result.notes.append('times with a decimal point: seconds')
  recording = result.recording(name)
  if facts.get('stop time'):
    recording.duration_sec = facts['stop time']
  elif facts.get('stop frame'):
    if in_seconds and rate:
      recording.duration_sec = facts['stop frame'] / rate
    else:
      recording.num_frames = int(facts['stop frame'])
  if len(channels) > 1:
    result.notes.append(
      f'all channels were taken: {", ".join(channels)} (one: --where=channel=…)'
    )


def _number(text: str) -> float | None:
  return float(text) if re.fullmatch(r'\d{1,12}(\.\d{1,12})?', text) else None


def _read_caltech(file, result, options) -> None:
  name = options.recording or file.stem
  recording = result.recording(name)
  last, stream, inside = 0.0, '', False
  streams = []
  kept = options.where.get('channel')
  for k, line in enumerate(file.text.splitlines()):
    text = line.strip()
    match = re.match(r'(S\d+)\s*:', text)
    if match:
      stream, inside = match[1], True
      streams.append(stream)
    elif inside and text and not text.startswith('---'):
      found = _NUMBERS.match(text)
      label = found[3].strip() if found else ''
      if not label:
        result.bad.append(
          f'line {k + 1}: found {text[:60]!r}, expected start end type'
        )
        continue
      last = max(last, float(found[2]))
      if not _is_none(label, options) and not (kept and stream not in kept):
        result.add(
          name, float(found[1]) - 1, float(found[2]), label, f'line {k + 1}'
        )
  recording.num_frames = int(last) or None
  if len(streams) > 1:
    result.notes.append(
      f'all streams were taken: {", ".join(streams)} (one: --where=channel=S1)'
    )
