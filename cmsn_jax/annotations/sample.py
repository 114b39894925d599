"""A file or folder of annotations, looked at by the readers of all formats."""

import functools
import os

from cmsn_jax.annotations import recording_names
from cmsn_jax.files import csv_tables, json_files

_LOOKS_JSON = ('{', '[')


class Sample:
  """What lies at a path, read once whoever asks.

  Args:
    path: a file or a folder.
  Raises:
    FileNotFoundError: if there is nothing.
  """

  def __init__(self, path: json_files.PathLike):
    self.path = os.fspath(path)
    if not os.path.exists(self.path):
      raise FileNotFoundError(f'{self.path}: no such file or folder')
    self.is_folder = os.path.isdir(self.path)
    self.suffix = os.path.splitext(self.path)[1].lower()
    # Why text, document or table could not be read: some reader may tell.
    self.problem: ValueError | None = None

  @property
  def stem(self) -> str:
    """The file's name as that of the one recording which it is about."""
    return recording_names.plain(
      os.path.splitext(os.path.basename(self.path))[0]
    )

  @functools.cached_property
  def text(self) -> str:
    """The text; '' for folders, spreadsheets and what is no text."""
    if self.is_folder or self.suffix in csv_tables.SPREADSHEETS:
      return ''
    try:
      return csv_tables.read_text(self.path)[0]
    except csv_tables.TableError as problem:
      self.problem = problem
      return ''

  @functools.cached_property
  def lines(self) -> list[str]:
    """The first 50 lines."""
    return self.text[:200_000].splitlines()[:50]

  @functools.cached_property
  def document(self) -> object:
    """The JSON document; None where it is none."""
    if self.is_folder or not self.text.lstrip('\ufeff \r\n\t').startswith(
      _LOOKS_JSON
    ):
      return None
    try:
      return json_files.read(self.path)
    except ValueError as problem:
      self.problem = problem
      return None

  @functools.cached_property
  def table(self) -> csv_tables.Table | None:
    """The table whose first row is its header; None where it is none."""
    if self.is_folder or self.text.lstrip('\ufeff').startswith(('{', '<')):
      return None
    if isinstance(self.document, list):
      return _records(self.path, self.document)
    try:
      return csv_tables.read(self.path)
    except csv_tables.TableError as problem:
      self.problem = self.problem or problem
      return None

  @property
  def header(self) -> set[str]:
    """Names of the table's columns in small letters; empty without one."""
    if self.table is None:
      return set()
    return {name.lower() for name in self.table.header}


def _records(path: str, document: list) -> csv_tables.Table | None:
  """A JSON list of flat objects, as pandas writes tables; else None."""
  if not document or not all(isinstance(one, dict) for one in document):
    return None
  header = list(dict.fromkeys(key for one in document for key in one))
  plain = (str, int, float, type(None))
  if any(not isinstance(v, plain) for one in document for v in one.values()):
    return None
  rows = tuple(
    csv_tables.Row(
      k + 1,
      tuple(
        '' if one.get(key) is None else str(one[key]).strip() for key in header
      ),
    )
    for k, one in enumerate(document)
  )
  return csv_tables.Table(path, tuple(header), rows, '')
