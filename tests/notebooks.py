"""Runs the code cells of a notebook in their order, without Jupyter.

python -m tests.notebooks docs/quick_start.ipynb

writes the outputs into the notebook, as Jupyter would.
"""

import ast
import base64
import contextlib
import io
import json
import pathlib
import sys
from typing import Any


def read(path: pathlib.Path) -> dict[str, Any]:
  """The notebook as its JSON has it."""
  return json.loads(path.read_text(encoding='utf-8'))


def source(cell: dict[str, Any]) -> str:
  """The text of a cell."""
  return ''.join(cell['source'])


def run(notebook: dict[str, Any]) -> tuple[list[list[dict]], dict[str, Any]]:
  """Outputs of each code cell, and the names at the end."""
  names, outputs = {'__name__': '__main__'}, []
  for cell in notebook['cells']:
    if cell['cell_type'] == 'code':
      outputs.append(_run_cell(source(cell), names, len(outputs) + 1))
  return outputs, names


def _run_cell(text, names, count):
  tree = ast.parse(text)
  last = None
  if tree.body and isinstance(tree.body[-1], ast.Expr):
    last = ast.Expression(tree.body.pop().value)
  where, printed, value = f'cell {count}', io.StringIO(), None
  with contextlib.redirect_stdout(printed):
    exec(compile(tree, where, 'exec'), names)
    if last is not None:
      value = eval(compile(last, where, 'eval'), names)
  found = []
  if printed.getvalue():
    lines = printed.getvalue().splitlines(keepends=True)
    found.append({'output_type': 'stream', 'name': 'stdout', 'text': lines})
  if value is not None:
    data = {'text/plain': [repr(value)]}
    if hasattr(value, '_repr_png_'):
      picture = base64.b64encode(value._repr_png_()).decode()
      data = {'image/png': picture, **data}
    found.append(
      {
        'output_type': 'execute_result',
        'execution_count': count,
        'metadata': {},
        'data': data,
      }
    )
  return found


def write(path: pathlib.Path, notebook: dict[str, Any], outputs: list) -> None:
  """Writes a notebook with the outputs of its code cells."""
  cells = [c for c in notebook['cells'] if c['cell_type'] == 'code']
  for count, (cell, found) in enumerate(zip(cells, outputs, strict=True), 1):
    cell['execution_count'], cell['outputs'] = count, found
  path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + '\n')


if __name__ == '__main__':
  _path = pathlib.Path(sys.argv[1])
  _notebook = read(_path)
  write(_path, _notebook, run(_notebook)[0])
