"""What the documentation says is still so: names, flags, messages, figures."""

import ast
import contextlib
import csv
import io
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_DOCS = sorted((_ROOT / 'docs').glob('*.md'))
_PAGES = [*_DOCS, _ROOT / 'README.md']
_names = [page.name for page in _PAGES]


def _commands(page):
  """The python commands of a page's sh blocks, comments left out."""
  text = page.read_text(encoding='utf-8')
  for block in re.findall(r'```sh\n(.*?)```', text, re.S):
    for line in block.replace('\\\n', ' ').splitlines():
      words = shlex.split(line, comments=True)
      if words[:2] == ['python', '-m']:
        yield words


@pytest.mark.parametrize('page', _PAGES, ids=_names)
def test_links_lead_somewhere(page):
  text = page.read_text(encoding='utf-8')
  for target in re.findall(r'\]\(([^)#]+)', text):
    if '://' not in target:
      assert (page.parent / target).exists(), target


@pytest.mark.parametrize('page', _PAGES, ids=_names)
def test_commands_and_their_flags_exist(page):
  shared = (_ROOT / 'launch' / 'cli.py').read_text()
  config = ast.unparse(
    ast.parse((_ROOT / 'configs' / 'default.py').read_text())
  )
  for words in _commands(page):
    if not words[2].startswith('launch.'):
      continue
    source = _ROOT / (words[2].replace('.', '/') + '.py')
    assert source.exists(), words
    known = source.read_text() + shared
    for word in words[3:]:
      name = word.removeprefix('--').partition('=')[0]
      if name.startswith('config.'):
        assert f'{name.removeprefix("config.")} = ' in config, word
      else:
        assert re.search(rf"DEFINE_\w+\(\s*'{name}'", known), (words[2], word)


@pytest.mark.parametrize('page', _DOCS, ids=[page.name for page in _DOCS])
def test_config_keys_exist(page):
  config = (_ROOT / 'configs' / 'default.py').read_text()
  groups = set(re.findall(r'config\.(\w+) = _', config))
  text = re.sub(r'```.*?```', '', page.read_text(encoding='utf-8'), flags=re.S)
  for group, key in re.findall(r'`(\w+)\.(\w+)(?:=[^`]*)?`', text):
    if group in groups and key != 'py':
      assert f'  {group}.{key} = ' in config, f'{group}.{key}'


def test_named_functions_are_in_the_named_files():
  text = (_ROOT / 'docs' / 'paper_to_code.md').read_text(encoding='utf-8')
  found = 0
  links = r'\[[^\]]+\.py\]\(\.\./([^)]+)\)((?: `\w+`,?)*)'
  for target, names in re.findall(links, text):
    source = (_ROOT / target).read_text(encoding='utf-8')
    for name in re.findall(r'`(\w+)`', names):
      pattern = rf'^(def|class) {name}\b|^{name} = '
      assert re.search(pattern, source, re.M), (target, name)
      found += 1
  assert found > 40
  losses = text.partition('## The losses')[2].partition('\n## ')[0]
  source = (_ROOT / 'cmsn_jax/stages/cosine_margin.py').read_text()
  for name in re.findall(r'`(\w+_\w+|STAGE_VALUES)`', losses):
    assert re.search(rf'^def {name}\b|^{name} = ', source, re.M), name


def _literals():
  """Every text in the code, with … for what is filled in."""

  def text_of(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
      return node.value
    if isinstance(node, ast.JoinedStr):
      return ''.join(text_of(part) for part in node.values)
    return '…'

  for folder in ('cmsn_jax', 'launch'):
    for file in (_ROOT / folder).rglob('*.py'):
      for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, (ast.Constant, ast.JoinedStr)):
          found = text_of(node)
          if ' ' in found:
            yield found


def test_messages_are_the_code_s_own():
  text = (_ROOT / 'docs' / 'troubleshooting.md').read_text(encoding='utf-8')
  literals = list(_literals())
  count = 0
  for row in re.findall(r'^\| (?:warning )?`([^`]+)`', text, re.M):
    pieces = [re.escape(piece) for piece in row.split('…') if piece.strip()]
    if len(row) < 8 or not pieces:
      continue
    pattern = re.compile('.*'.join(pieces), re.S)
    assert any(pattern.search(literal) for literal in literals), row
    count += 1
  assert count > 30


def test_the_worked_example_prints_what_the_page_says():
  text = (_ROOT / 'docs' / 'protocols.md').read_text(encoding='utf-8')
  code, expected = re.search(
    r'```python\n(.*?)```\s*```text\n(.*?)```', text, re.S
  ).groups()
  printed = io.StringIO()
  with contextlib.redirect_stdout(printed):
    exec(compile(code, 'protocols.md', 'exec'), {})
  assert printed.getvalue() == expected


@pytest.mark.slow
def test_own_data_step_by_step(tmp_path):
  """Runs the page's commands on generated sequences, shrunk to seconds."""
  from cmsn_jax.data import annotations, synthetic_features

  made = synthetic_features.generate(
    tmp_path / 'made', num_videos=6, duration_sec=60.0
  )
  shutil.copytree(tmp_path / 'made' / 'features', tmp_path / 'features')
  with open(tmp_path / 'labels.csv', 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['video', 'start', 'end', 'label', 'subset'])
    for video in annotations.read(made).videos.values():
      for (start, end), label in zip(video.segments, video.labels):
        writer.writerow([video.video_id, start, end, label, video.subset])
  environment = os.environ | {'PYTHONPATH': str(_ROOT)}
  for words in _commands(_ROOT / 'docs' / 'own_data.md'):
    if words[2] in ('launch.extract_features', 'launch.join_clips'):
      continue  # Needs videos and weights, or clips.
    words = [
      word.replace('configs/custom.py', f'{_ROOT}/configs/custom.py:smoke')
      for word in words[1:]
    ]
    done = subprocess.run(
      [sys.executable, *words],
      cwd=tmp_path,
      env=environment,
      capture_output=True,
      text=True,
      timeout=600,
    )
    assert done.returncode == 0, (words, done.stderr[-2000:])
  for name in ('labels.json', 'proposals.csv', 'report.html', 'metrics'):
    assert (tmp_path / name).exists(), name
