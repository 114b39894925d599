"""What the documentation says is still so: names, flags, messages, figures."""

import ast
import contextlib
import csv
import io
import json
import os
import pathlib
import re
import runpy
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
  """The commands of a page's blocks as `python -m` calls, without comments."""
  return _commands_of(page.read_text(encoding='utf-8'))


def _commands_of(text, indented=True):
  blocks = re.findall(r'```sh\n(.*?)```', text, re.S)
  # In whole: a line may go on in the next one.
  blocks += re.findall(r'(?:^    .*\n?)+', text, re.M) if indented else []
  for block in blocks:
    for line in block.replace('\\\n', ' ').splitlines():
      words = shlex.split(line, comments=True)
      if words[:1] == ['cmsn'] and len(words) > 1:
        words = ['python', '-m', f'launch.{words[1]}', *words[2:]]
      if words[:2] == ['python', '-m']:
        yield words


@pytest.mark.parametrize('page', _PAGES, ids=_names)
def test_links_lead_somewhere(page):
  text = page.read_text(encoding='utf-8')
  for target in re.findall(r'\]\(([^)#]+)', text):
    if '://' not in target:
      assert (page.parent / target).exists(), target


def _mentioned(page):
  """Every other mention: `launch.x --flag=…`, `cmsn x --flag …` in the text."""
  text = page.read_text(encoding='utf-8')
  text = re.sub(r'```.*?```', '', text, flags=re.S)
  for code in re.findall(r'`([^`\n]+)`', text):
    code = code.removeprefix('python -m ')
    words = re.sub(r'^cmsn (?=\w)', 'launch.', code).split()
    if words and re.fullmatch(r'launch\.\w+', words[0]):
      yield ['python', '-m', words[0], *(w for w in words if w[:2] == '--')]


@pytest.mark.parametrize('page', _PAGES, ids=_names)
def test_commands_and_their_flags_exist(page):
  shared = (_ROOT / 'launch' / 'cli.py').read_text()
  several = {
    name: (_ROOT / 'launch' / f'{name}.py').read_text()
    for name in (
      'feature_flags',
      'proposal_flags',
      'input_flags',
      'video_flags',
      'final_flags',
      'engine_flags',
      'report_run',
    )
  }
  config = ast.unparse(
    ast.parse((_ROOT / 'cmsn_jax' / 'settings' / 'default.py').read_text())
  )
  for words in [*_commands(page), *_mentioned(page)]:
    if not words[2].startswith('launch.'):
      continue
    source = _ROOT / (words[2].replace('.', '/') + '.py')
    assert source.exists(), words
    known = source.read_text() + shared
    known += ''.join(text for name, text in several.items() if name in known)
    keys = config + _config_of(words)
    for word in words[3:]:
      name = word.removeprefix('--').partition('=')[0]
      if name.startswith('config.'):
        assert f'{name.removeprefix("config.")} = ' in keys, word
      else:
        pattern = rf"DEFINE_\w+\(\s*'{name}'"
        negated = rf"DEFINE_bool\(\s*'{name.removeprefix('no')}'"
        assert re.search(f'{pattern}|{negated}', known), (words[2], word)


def _config_of(words):
  """Keys of the config file that a command names, which must exist."""
  for word in words:
    if word.startswith('--config='):
      path = _ROOT / word.removeprefix('--config=').partition(':')[0]
      assert path.exists(), word
      keys = runpy.run_path(str(path))['get_config']().to_dict()
      return ''.join(f'{key} = \n' for key in _flat('', keys))
  return ''


def _flat(prefix, keys):
  for name, value in keys.items():
    yield f'{prefix}{name}'
    if isinstance(value, dict):
      yield from _flat(f'{prefix}{name}.', value)


def test_config_files_and_commands_that_pages_name_exist():
  for page in _PAGES:
    text = page.read_text(encoding='utf-8')
    for name in re.findall(r'\bconfigs/(\w+)\.py', text):
      assert (_ROOT / 'configs' / f'{name}.py').exists(), (page.name, name)
    for name in re.findall(r'\blaunch\.(\w+)', text):
      path = _ROOT / 'launch' / name
      assert path.is_dir() or path.with_suffix('.py').exists(), (
        page.name,
        name,
      )


@pytest.mark.parametrize('page', _DOCS, ids=[page.name for page in _DOCS])
def test_config_keys_exist(page):
  config = (_ROOT / 'cmsn_jax' / 'settings' / 'default.py').read_text()
  groups = set(re.findall(r'config\.(\w+) = _', config))
  text = re.sub(r'```.*?```', '', page.read_text(encoding='utf-8'), flags=re.S)
  for group, key in re.findall(r'`(\w+)\.(\w+)(?:=[^`]*)?`', text):
    # Files may be named as sections are: `proposals.json`.
    if group in groups and key not in ('py', 'json', 'jsonl', 'csv'):
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


def test_python_api_prints_what_the_page_says(tmp_path):
  """Runs the page's blocks in their order, as one script."""
  text = (_ROOT / 'docs' / 'python_api.md').read_text(encoding='utf-8')
  blocks = re.findall(r'```(python|text)\n(.*?)```', text, re.S)
  code = ''.join(
    block if kind == 'python' else "print('```')\n" for kind, block in blocks
  )
  done = subprocess.run(
    [sys.executable, '-'], input=code, cwd=tmp_path, capture_output=True,
    text=True, timeout=600, env=os.environ | {'PYTHONPATH': str(_ROOT)},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-3000:]
  expected = [block for kind, block in blocks if kind == 'text']
  assert done.stdout.split('```\n') == [*expected, '']
  assert (tmp_path / 'video_004.png').stat().st_size > 10_000


# Runs commands one after the other in one process, so that what each of them
# would load and compile anew is there already.
_RUNNER = """
import json, runpy, sys, time
from absl import app, flags
app.define_help_flags()
for words in json.load(sys.stdin):
  before = set(flags.FLAGS)
  for name in [n for n in sys.modules if n.split('.')[0] == 'launch']:
    del sys.modules[name]
  sys.argv = words
  try:
    runpy.run_module(words[0], run_name='__main__', alter_sys=True)
  except SystemExit as end:
    if end.code:
      sys.exit(f'{words} ended with {end.code}')
  for name in set(flags.FLAGS) - before:
    delattr(flags.FLAGS, name)
  print(words[0], 'took', time.process_time(), 's of processor time so far')
"""


def _run_all(commands, folder, timeout):
  done = subprocess.run(
    [sys.executable, '-c', _RUNNER],
    cwd=folder,
    env=os.environ | {'PYTHONPATH': f'{_ROOT}{os.pathsep}.'},
    input=json.dumps(commands),
    capture_output=True,
    text=True,
    timeout=timeout,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return done


@pytest.fixture
def own_data(tmp_path):
  """A user's folder: labels.csv, raters.csv, features/, new_features/, videos/."""
  from cmsn_jax.annotations import activitynet
  from cmsn_jax.data.synthetic import features
  from cmsn_jax.data.synthetic import video as synthetic_video

  made = features.generate(tmp_path / 'made', num_videos=6, duration_sec=60.0)
  for name in ('features', 'new_features'):
    shutil.copytree(tmp_path / 'made' / 'features', tmp_path / name)
  with open(tmp_path / 'labels.csv', 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['video', 'start', 'end', 'label', 'subset'])
    for video in activitynet.read(made).videos.values():
      for (start, end), label in zip(video.segments, video.labels):
        writer.writerow([video.video_id, start, end, label, video.subset])
  _write_raters(tmp_path / 'raters.csv', activitynet.read(made))
  synthetic_video.generate(
    tmp_path, num_videos=3, duration_sec=20.0, size=(48, 64)
  )
  # One is enough to read.
  for path in sorted((tmp_path / 'videos').glob('*.mp4'))[1:]:
    path.unlink()
  # An extractor that needs no weights: the one of the documentation.
  text = (_ROOT / 'docs' / 'extractors.md').read_text(encoding='utf-8')
  (code,) = re.findall(r'```python\n(.*?)```', text, re.S)
  (tmp_path / 'my_backbone.py').write_text(code, encoding='utf-8')
  return tmp_path


def _write_raters(path, annotations):
  """One table of two annotators, of whom the second is a tenth later."""
  with open(path, 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['video', 'start', 'end', 'label', 'duration', 'annotator'])
    for name, video in annotations.videos.items():
      for (start, end), label in zip(video.segments, video.labels):
        for late, rater in ((0.0, 'anna'), (0.1, 'ben')):
          writer.writerow(
            [name, start + late, end, label, video.duration_sec, rater]
          )


def _shrunk(words):
  """A documented command, made to last seconds; its arguments otherwise."""
  configs = f'{_ROOT}/configs'
  module, *rest = words[2:]
  if module == 'launch.extract_features':
    backbone = '--config.features.extractor=my_backbone'
    assert rest[0].startswith('--config=configs/features_')
    rest = [f'--config={configs}/features_default.py', backbone, *rest[1:]]
    rest = [word.replace('=features/', '=extracted/') for word in rest]
  rest = [
    word.replace('configs/custom.py', f'{configs}/custom.py:smoke')
    for word in rest
  ]
  return [module, *rest]


def _own_data_of_the_readme():
  text = (_ROOT / 'README.md').read_text(encoding='utf-8')
  part = text.partition('## Your own data')[2].partition('\n## ')[0]
  return list(_commands_of(part))


def test_own_data_of_the_readme(own_data):
  """Runs the commands as they stand, but for the size of the network."""
  commands = [_shrunk(words) for words in _own_data_of_the_readme()]
  assert [words[0].removeprefix('launch.') for words in commands] == [
    'inspect_data', 'convert_annotations', 'extract_features', 'train',
    'propose', 'evaluate',
  ]  # fmt: skip
  done = _run_all(commands, own_data, 300)
  assert 'annotations ' in done.stdout and 'features ' in done.stdout
  assert 'top_k' in done.stdout
  assert len(list((own_data / 'extracted').glob('*.npy'))) == 1
  found = json.loads((own_data / 'proposals.json').read_text())
  assert len(found['results']) == 6
  assert (own_data / 'metrics' / 'metrics.json').exists()


def test_quick_start(tmp_path):
  """What `make demo` runs, with a tiny network on three generated sequences."""
  page = (_ROOT / 'docs' / 'quick_start.md').read_text(encoding='utf-8')
  assert re.findall(r'```sh\n(.*?)```', page, re.S) == ['make demo\n']
  makefile = (_ROOT / 'Makefile').read_text()
  recipe = re.search(r'^demo:.*\n\t(.*)$', makefile, re.M)[1]
  words = shlex.split(recipe.replace('$(BIN)/', ''))
  assert words[:2] == ['python', '-m']
  small = ['--smoke', '--input=features', '--videos=5', '--seconds=40']
  done = _run_all([[*words[2:], *small]], tmp_path, 300)
  for line in ('thumos    CMSN', 'top_k     random', 'runs/demo/report.html'):
    assert line in done.stdout
  assert (tmp_path / 'runs' / 'demo' / 'report.html').stat().st_size > 10_000


@pytest.mark.slow
def test_own_data_step_by_step(own_data):
  """Runs the page's commands on generated sequences, shrunk to seconds."""
  text = (_ROOT / 'docs' / 'own_data.md').read_text(encoding='utf-8')
  commands = [
    words
    for words in _commands_of(text, indented=False)
    if words[2] != 'launch.join_clips'  # Needs clips by class.
  ]
  _run_all([_shrunk(words) for words in commands], own_data, 600)
  for name in (
    'labels.json',
    'agreed.json',
    'proposals.csv',
    'report.html',
    'metrics',
  ):
    assert (own_data / name).exists(), name
  (code,) = re.findall(r'```python\n(.*?)```', text, re.S)
  found = json.loads((own_data / 'proposals.json').read_text())['results']
  name, expected = next(iter(found.items()))
  code = code.replace('rat_01', name) + 'print(len(segments))\n'
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=own_data, capture_output=True, text=True, timeout=300,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-2000:]
  assert int(done.stdout) == len(expected) > 0
