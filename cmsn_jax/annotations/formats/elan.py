"""ELAN: .eaf files, and tables of annotations that it exports.

The XML is read with the standard library; a document type, which could define
entities, is refused. pympi-ling reads it too, but warns on standard output and
passes on whatever the XML parser does.
"""

import re
import xml.etree.ElementTree as ElementTree

from cmsn_jax.annotations import column_names, imported, sample
from cmsn_jax.annotations.formats import csv as csv_format
from cmsn_jax.files import cell_values, csv_tables, json_files

_CLOCK = re.compile(r'\d{1,3}:\d{2}:\d{2}[.,]\d{1,3}')
_FACTORS = {
  'milliseconds': 0.001,
  'PAL-frames': 0.04,
  'NTSC-frames': 1001 / 30000,
}


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  if '<ANNOTATION_DOCUMENT' in file.text[:100_000]:
    return 'an ELAN document'
  if any(name.startswith('begin time - ') for name in file.header):
    return 'an export of ELAN with a header'
  rows = [line.split('\t') for line in file.lines if line.strip()]
  if rows and all(
    sum(bool(_CLOCK.fullmatch(cell.strip())) for cell in cells) >= 2
    for cells in rows
  ):
    return 'an export of ELAN: lines with a tier and clock times'
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """Annotations of all tiers; the label is the text, or the tier's name."""
  result = imported.Imported(file.path, 'seconds')
  if '<ANNOTATION_DOCUMENT' in file.text[:100_000]:
    _read_document(file, result, options)
    return result
  if any(name.startswith('begin time - ') for name in file.header):
    return _read_table(file, options)
  for k, line in enumerate(file.text.splitlines()):
    cells = [cell.strip() for cell in line.split('\t')]
    clocks = [cell for cell in cells if _CLOCK.fullmatch(cell)]
    if not any(cells):
      continue
    where = f'line {k + 1}'
    try:
      start, end = (cell_values.parse(cell).number for cell in clocks[:2])
    except ValueError:
      result.bad.append(
        f'{where}: found {line[:60]!r}, expected two clock times'
      )
      continue
    texts = [c for c in cells[1:] if c and not re.fullmatch(r'[\d:.,]+', c)]
    label = texts[-1] if texts else cells[0]
    result.add(options.recording or file.stem, start, end, label, where)
  return result


def _read_table(file, options) -> imported.Imported:
  """A table with one column a tier, or a column for the text."""
  table = csv_format.filtered(file.table, options.where)
  named = [column_names.understand(k, n) for k, n in enumerate(table.header)]
  has_label = any(c.role == 'label' and c.rank == 0 for c in named)
  known = re.compile(
    r'(begin|end) time|duration|participant|file|annotator|tier'
  )
  tiers = [
    k for k, name in enumerate(table.header) if not known.match(name.lower())
  ]
  if tiers and not (
    has_label or 'label' in options.columns or options.labels_from
  ):
    rows = tuple(
      csv_tables.Row(
        row.line,
        (*row.cells, next((row.cells[k] for k in tiers if row.cells[k]), '')),
      )
      for row in table.rows
    )
    table = csv_tables.Table(
      table.path, (*table.header, 'label'), rows, table.delimiter, table.notes,
      table.ragged,
    )  # fmt: skip
  if not any(column.role == 'video' for column in named):
    options = imported.replaced(
      options, recording=options.recording or file.stem
    )
  return csv_format.read_rows(table, imported.replaced(options, where={}))


def _read_document(file, result, options) -> None:
  if re.search(r'<!(doctype|entity)', file.text, re.IGNORECASE):
    raise csv_tables.TableError(
      f'{file.path}: has a document type, which no ELAN file has; not read'
    )
  try:
    root = ElementTree.fromstring(file.text.lstrip('\ufeff').encode())
  except (ElementTree.ParseError, ValueError, LookupError) as problem:
    raise csv_tables.TableError(
      f'{file.path}: not valid XML: {problem}'
    ) from None
  except RecursionError:
    raise csv_tables.TableError(f'{file.path}: XML nested too deeply') from None
  header = root.find('HEADER')
  unit = header.get('TIME_UNITS', 'milliseconds') if header is not None else ''
  factor = _FACTORS.get(unit or 'milliseconds')
  if factor is None:
    raise csv_tables.TableError(
      f'{file.path}: found the time unit {json_files.shown(unit)}, expected one '
      f'of {", ".join(_FACTORS)}'
    )
  name, origin = _media(header, result)
  name = options.recording or name or file.stem
  slots = {}
  for slot in root.iter('TIME_SLOT'):
    value = slot.get('TIME_VALUE')
    if value is not None and re.fullmatch(r'-?\d{1,15}', value):
      slots[slot.get('TIME_SLOT_ID')] = int(value) * factor + origin
  result.recording(name)
  spans: dict[str | None, tuple[float, float]] = {}
  tiers = list(root.iter('TIER'))
  for tier in tiers:
    for one in tier.iter('ALIGNABLE_ANNOTATION'):
      times = [slots.get(one.get(f'TIME_SLOT_REF{k}')) for k in (1, 2)]
      if None not in times:
        spans[one.get('ANNOTATION_ID')] = (times[0], times[1])
  _Tiers(result, options, name, spans).read(tiers)


def _media(header, result) -> tuple[str, float]:
  """Name of the first media file, and seconds of it that are passed over."""
  media = header.find('MEDIA_DESCRIPTOR') if header is not None else None
  if media is None:
    return '', 0.0
  url = media.get('MEDIA_URL') or media.get('RELATIVE_MEDIA_URL') or ''
  origin = media.get('TIME_ORIGIN', '0')
  seconds = int(origin) / 1000 if re.fullmatch(r'\d{1,12}', origin) else 0.0
  if seconds:
    result.notes.append(
      f'the media file is used from {seconds:g} s on: added to all times'
    )
  return re.split(r'[/\\]', url)[-1], seconds


class _Tiers:
  """Takes the annotations of tiers."""

  def __init__(self, result, options, name, spans):
    self._result, self._options = result, options
    self._name, self._spans = name, spans
    for key in options.where:
      if key.lower() not in ('tier', 'participant'):
        raise csv_tables.TableError(
          f'{result.source}: --where={key}=…: an ELAN file has tier and participant'
        )
    for key in options.labels_from:
      if key.lower() not in ('tier', 'participant', 'value'):
        raise csv_tables.TableError(
          f'{result.source}: --labels_from: an ELAN file has tier, participant '
          f'and value, no {key!r}'
        )

  def read(self, tiers) -> None:
    counts = {}
    seen = set()
    for tier in tiers:
      facts = {
        'tier': tier.get('TIER_ID', ''),
        'participant': tier.get('PARTICIPANT', ''),
      }
      seen.add(facts['tier'])
      if any(
        facts[key.lower()] not in values
        for key, values in self._options.where.items()
      ):
        continue
      before = len(self._result.recording(self._name).instances)
      for k, one in enumerate(tier.iter()):
        if one.tag in ('ALIGNABLE_ANNOTATION', 'REF_ANNOTATION'):
          self._take(one, facts, f'tier {facts["tier"]}, annotation {k}')
      after = len(self._result.recording(self._name).instances)
      if after > before:
        counts[facts['tier']] = after - before
    if not counts and self._options.where:
      raise csv_tables.TableError(
        f'{self._result.source}: no annotation is left by --where; the tiers are '
        f'{imported.some(sorted(seen))}'
      )
    shown = ', '.join(f'{tier} {n}' for tier, n in list(counts.items())[:20])
    self._result.notes.append(
      f'tiers: {shown or "none with annotations"} (one of them: --where=tier=…; '
      'as part of the label: --labels_from=tier+value)'
    )

  def _take(self, one, facts, where: str) -> None:
    value = (one.findtext('ANNOTATION_VALUE') or '').strip()
    span = self._spans.get(one.get('ANNOTATION_ID'))
    if one.tag == 'REF_ANNOTATION':
      if not self._options.where:
        kind = (
          'annotations of tiers that describe those of another tier '
          '(--where=tier=… takes them)'
        )
        self._result.left_out[kind].append(f'{where}: {value[:60]}')
        return
      span = self._spans.get(one.get('ANNOTATION_REF'))
      if span is not None:
        self._spans[one.get('ANNOTATION_ID')] = span
    if span is None:
      self._result.bad.append(f'{where}: found {value[:60]!r} without times')
      return
    if self._options.labels_from:
      parts = {**facts, 'value': value}
      label = '+'.join(
        parts[key.lower()]
        for key in self._options.labels_from
        if parts[key.lower()]
      )
    else:
      label = value or facts['tier']
    self._result.add(self._name, *span, label, where)
