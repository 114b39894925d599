"""JSON files from anywhere, read with a clear error."""

import json
import math
import os
import stat

PathLike = str | os.PathLike


def require_file(path: PathLike, error: type[ValueError] = ValueError) -> int:
  """Size in bytes of an ordinary file.

  A pipe or a device never ends, so only regular files are opened.

  Raises:
    FileNotFoundError: if there is nothing at `path`.
    ValueError: (or `error`) if it is not a regular file.
  """
  try:
    status = os.stat(path)
  except FileNotFoundError:
    raise FileNotFoundError(f'{path}: no such file') from None
  except ValueError:  # a null byte in the path
    raise error(f'{os.fspath(path)!r}: not a usable file name') from None
  if not stat.S_ISREG(status.st_mode):
    kind = 'folder' if stat.S_ISDIR(status.st_mode) else 'special file'
    raise error(f'{path}: found a {kind}, expected a file')
  return status.st_size


def _refuse_constant(token: str) -> object:
  raise ValueError(f'found the number {token}, which is not JSON')


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
  result = dict(pairs)
  if len(result) != len(pairs):
    seen = set()
    for key, _ in pairs:
      if key in seen:
        # A later entry would silently replace the earlier one.
        raise ValueError(f'the key {key[:80]!r} appears twice in one object')
      seen.add(key)
  return result


def _looks_like_csv(text: str) -> bool:
  first = text.lstrip().partition('\n')[0]
  return ',' in first and first[:1] not in '{["'


def read(
  path: PathLike, error: type[ValueError] = ValueError, csv_hint: str = ''
) -> object:
  """The document in a JSON file (UTF-8, with or without a byte-order mark).

  Args:
    path: the file.
    error: the exception class to raise for bad contents.
    csv_hint: what to do where the file is CSV, '; …'.
  Returns:
    dicts, lists, strings, numbers, booleans and None.
  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: (or `error`) where the file is not JSON: a syntax error with
      its line, NaN and Infinity, a repeated key, nesting too deep, a number of
      thousands of digits, another encoding.
  """
  require_file(path, error)
  try:
    with open(path, encoding='utf-8-sig') as file:
      return json.load(
        file, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys
      )
  except UnicodeDecodeError as problem:
    raise error(
      f'{path}: found bytes that are not UTF-8 text at byte {problem.start}, '
      'expected a JSON file'
    ) from None
  except json.JSONDecodeError as problem:
    message = (
      f'not valid JSON, line {problem.lineno} column {problem.colno}: '
      f'{problem.msg}'
    )
    if _looks_like_csv(problem.doc):
      message = f'this looks like CSV, expected JSON{csv_hint}'
    raise error(f'{path}: {message}') from None
  except RecursionError:
    raise error(f'{path}: lists or objects are nested too deeply') from None
  except ValueError as problem:
    raise error(f'{path}: not valid JSON: {problem}') from None


def number(value: object) -> float | None:
  """A JSON number as a finite float, or None where it is not one."""
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    return None
  try:
    result = float(value)
  except OverflowError:  # an integer beyond 1e308
    return None
  return result if math.isfinite(result) else None


def shown(value: object, limit: int = 60) -> str:
  """A value of unknown size, short enough for a message."""
  if isinstance(value, (dict, list)):
    kind = 'an object' if isinstance(value, dict) else 'a list'
    if len(value) > 4 or any(isinstance(v, (dict, list)) for v in value):
      return f'{kind} of {len(value)} entr{"y" if len(value) == 1 else "ies"}'
  if isinstance(value, (dict, list)) and not value:
    return f'an empty {"object" if isinstance(value, dict) else "list"}'
  if isinstance(value, dict):
    return f'an object with {", ".join(shown(key, 20) for key in value)}'
  if isinstance(value, int) and abs(value) >= 10**18:
    return 'a number beyond 1e18'
  text = repr(value)
  return text if len(text) <= limit else text[: limit - 1] + '…'


def problems_found(number: int) -> str:
  """'1 problem found', '2 problems found', …"""
  return f'{number} problem{"" if number == 1 else "s"} found'
