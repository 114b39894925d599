"""Charades: a row a video, its actions in one cell: `c092 11.90 21.20;…`."""

import re

from cmsn_jax.annotations import dialects, imported, sample
from cmsn_jax.annotations.formats import csv as csv_format
from cmsn_jax.files import csv_tables, json_files

_ACTION = re.compile(
  r'(\S+) (-?\d{1,9}(?:\.\d{1,9})?) (-?\d{1,9}(?:\.\d{1,9})?)'
)


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  if {'id', 'actions', 'length'} <= file.header:
    return 'a table with the columns id, actions, length of Charades'
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """All actions; rows without any are videos without instances."""
  table = csv_format.filtered(
    file.table or csv_tables.read(file.path), options.where
  )
  index = {name.lower(): k for k, name in enumerate(table.header)}
  result = imported.Imported(file.path, 'seconds')
  if not {'id', 'actions', 'length'} <= set(index):
    raise csv_tables.TableError(
      f'{file.path}: expected the columns id, actions and length'
    )
  subset = dialects.subset_of_name(file.path)
  if subset:
    result.notes.append(
      f'the subset {subset} is taken from the name of the file'
    )
  result.bad += table.misfits()
  for row in table.rows:
    where = f'row {row.line}'
    name = row.cells[index['id']]
    if not name:
      result.bad.append(f"{where}: video id '' is empty")
      continue
    length = row.cells[index['length']]
    number = json_files.number(dialects.number(length))
    if number is None:
      result.wrong.append(
        f'{where}: found the length {json_files.shown(length)}'
      )
      continue
    result.state(name, where, duration_sec=number, subset=subset)
    for text in filter(None, row.cells[index['actions']].split(';')):
      match = _ACTION.fullmatch(text.strip())
      if match:
        result.add(name, float(match[2]), float(match[3]), match[1], where)
      else:
        result.bad.append(
          f'{where}: found the action {json_files.shown(text)}, expected CLASS '
          'START END'
        )
  return result
