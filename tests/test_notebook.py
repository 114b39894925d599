"""docs/quick_start.ipynb runs as it stands, and has outputs to look at."""

import base64
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests import notebooks

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_PATH = _ROOT / 'docs' / 'quick_start.ipynb'
_PNG = b'\x89PNG\r\n\x1a\n'


def _code(notebook):
  return [c for c in notebook['cells'] if c['cell_type'] == 'code']


def _kinds(notebook):
  return [
    [(x['output_type'], *sorted(x.get('data', ()))) for x in cell['outputs']]
    for cell in _code(notebook)
  ]


def test_it_is_a_notebook():
  """As nbformat 4.5 has it."""
  notebook = notebooks.read(_PATH)
  assert set(notebook) == {'cells', 'metadata', 'nbformat', 'nbformat_minor'}
  assert (notebook['nbformat'], notebook['nbformat_minor']) == (4, 5)
  assert notebook['metadata']['kernelspec']['name'] == 'python3'
  ids = [cell['id'] for cell in notebook['cells']]
  assert len(set(ids)) == len(ids)
  common = {'cell_type', 'id', 'metadata', 'source'}
  for cell in notebook['cells']:
    assert re.fullmatch(r'[a-zA-Z0-9_-]{1,64}', cell['id'])
    assert cell['cell_type'] in ('markdown', 'code')
    more = (
      {'execution_count', 'outputs'} if cell['cell_type'] == 'code' else set()
    )
    assert set(cell) == common | more
    # Lines, each but the last with its end.
    assert all(line.endswith('\n') for line in cell['source'][:-1])
    assert all(line.count('\n') <= 1 for line in cell['source'])


def test_nbformat_finds_nothing_wrong():
  nbformat = pytest.importorskip('nbformat')
  nbformat.validate(nbformat.read(_PATH, as_version=4))


def test_links_lead_somewhere():
  for cell in notebooks.read(_PATH)['cells']:
    for target in re.findall(r'\]\(([^)#]+)\)', notebooks.source(cell)):
      assert (_PATH.parent / target).exists(), target


def test_its_outputs_are_kept_and_name_no_machine():
  notebook = notebooks.read(_PATH)
  counts = [cell['execution_count'] for cell in _code(notebook)]
  assert counts == list(range(1, len(counts) + 1))
  assert all(cell['outputs'] for cell in _code(notebook))
  assert not re.search(r'"[^"]*/(tmp|home|root|Users)/', _PATH.read_text())
  pictures = [
    base64.b64decode(output['data']['image/png'])
    for cell in _code(notebook)
    for output in cell['outputs']
    if 'image/png' in output.get('data', ())
  ]
  assert len(pictures) == 1
  assert pictures[0].startswith(_PNG) and 10_000 < len(pictures[0]) < 150_000


def test_it_runs_and_gives_what_it_shows(tmp_path):
  copy = shutil.copy(_PATH, tmp_path / 'copy.ipynb')
  done = subprocess.run(
    [sys.executable, '-m', 'tests.notebooks', str(copy)],
    cwd=_ROOT, capture_output=True, text=True, timeout=600,
    env=os.environ | {'PYTHONPATH': str(_ROOT)},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-3000:]
  made, kept = notebooks.read(copy), notebooks.read(_PATH)
  assert _kinds(made) == _kinds(kept)
  # The data are the same everywhere; the model is better than chance.
  first, last = (_code(made)[k]['outputs'][0]['text'] for k in (0, -1))
  assert first == _code(kept)[0]['outputs'][0]['text']
  model, random = ([float(x) for x in line.split()[1:]] for line in last[1:3])
  assert model[0] > random[0] + 0.1 and model[2] > random[2]


def test_cells_share_names_and_show_their_last_value():
  cells = [
    {'cell_type': 'code', 'source': ['x = 2\n', 'print(x)\n', 'x + 1']},
    {'cell_type': 'markdown', 'source': ['text']},
    {'cell_type': 'code', 'source': ['x = x * 5']},
    {'cell_type': 'code', 'source': ['None']},
  ]
  outputs, names = notebooks.run({'cells': cells})
  assert names['x'] == 10
  assert [len(found) for found in outputs] == [2, 0, 0]
  assert outputs[0][0]['text'] == ['2\n']
  assert outputs[0][1]['data'] == {'text/plain': ['3']}
  cells[0]['source'] = ['1 / 0']
  with pytest.raises(ZeroDivisionError):
    notebooks.run({'cells': cells})
