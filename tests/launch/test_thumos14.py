"""launch/thumos14.sh: steps in order, resumed, with flags that exist."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import zipfile

import pytest

from tests import test_docs

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SCRIPT = _ROOT / 'launch' / 'thumos14.sh'

pytestmark = pytest.mark.skipif(
  not (shutil.which('bash') and shutil.which('unzip')),
  reason='bash or unzip is not installed',
)

# Writes what it is asked for, and the output that each command would make.
_PYTHON = r"""#!/usr/bin/env bash
printf '%q ' python "$@" >> "$LOG"; echo >> "$LOG"
for word in "$@"; do
  case $word in
    --output=*) out=${word#*=} ;;
    --workdir=*) work=${word#*=} ;;
    --table=*) table=${word#*=} ;;
  esac
done
case $2 in
  launch.convert_annotations) touch "$out" ;;
  launch.convert_weights) mkdir -p "$out"; touch "$out/weights.json" ;;
  launch.extract_features) mkdir -p "$out" ;;
  launch.pretrain) mkdir -p "$out" "$work"; touch "$out/weights.json" ;;
  launch.ablate) mkdir -p "$work"; echo table > "$work/table_$table.md" ;;
esac
"""


@pytest.fixture
def made(tmp_path):
  """Archives with two annotated videos each and one without annotations."""
  data = tmp_path / 'THUMOS 14'
  data.mkdir()
  for part, names, archive in (
    ('val', ('validation', 'val'), 'TH14_validation_set_mp4'),
    ('test', ('test', 'test'), 'TH14_Test_set_mp4'),
  ):
    title, short = names
    with zipfile.ZipFile(
      data / f'TH14_Temporal_annotations_{title}.zip', 'w'
    ) as file:
      file.writestr(
        f'annotation/Diving_{short}.txt',
        f'video_{part}_1  1.0 2.0\nvideo_{part}_1  4.0 5.0\n'
        f'video_{part}_2  1.0 2.0\n',
      )
    with zipfile.ZipFile(data / f'{archive}.zip', 'w') as file:
      for number in (1, 2, 3):
        file.writestr(f'folder/video_{part}_{number}.mp4', f'{part}{number}')
  for name in (
    'activitynet_iter_30000_3fps.caffemodel', 'resnet200_anet_2016.caffemodel',
    'bn_inception_anet_2016_temporal.caffemodel.v5',
  ):  # fmt: skip
    (data / name).write_text('weights')
  (tmp_path / 'UCF-101').mkdir()
  python = tmp_path / 'python'
  python.write_text(_PYTHON)
  python.chmod(0o755)
  return data


def _run(data, *steps):
  log = data.parent / 'log'
  log.write_text('')
  done = subprocess.run(
    ['bash', str(_SCRIPT), *steps], cwd=_ROOT, capture_output=True, text=True,
    env={**os.environ, 'THUMOS14': str(data), 'LOG': str(log),
         'PYTHON': str(data.parent / 'python'),
         'UCF101': str(data.parent / 'UCF-101')},
  )  # fmt: skip
  return done, [shlex.split(line) for line in log.read_text().splitlines()]


def test_all_steps_and_again(made):
  done, commands = _run(made, 'all')
  assert done.returncode == 0, done.stderr
  assert sorted(path.name for path in (made / 'videos').iterdir()) == [
    'video_test_1.mp4', 'video_test_2.mp4', 'video_val_1.mp4',
    'video_val_2.mp4',
  ]  # fmt: skip
  assert (made / 'videos' / 'video_val_2.mp4').read_text() == 'val2'
  assert 'val: 2 videos with annotations (200 expected)' in done.stdout
  tables = [
    word for words in commands for word in words if word.startswith('--table')
  ]
  assert tables == [f'--table={n}' for n in (1, 1, 4, 4, 5, 6, 1)]
  _check_flags(commands)
  _, again = _run(made, 'all')
  # This one looks itself at what there is.
  assert [words[2] for words in again] == ['launch.extract_features']


def _check_flags(commands):
  # Commands share flags by importing each other's modules.
  shared = ''.join(
    path.read_text() for path in sorted((_ROOT / 'launch').glob('*.py'))
  )
  default = (_ROOT / 'cmsn_jax' / 'settings' / 'default.py').read_text()
  for words in commands:
    command = (_ROOT / (words[2].replace('.', '/') + '.py')).read_text()
    keys = default + test_docs._config_of(words)
    for word in words[3:]:
      name = word.removeprefix('--').partition('=')[0]
      if name.startswith('config.'):
        assert f'{name.removeprefix("config.")} = ' in keys, word
      else:
        assert re.search(rf"DEFINE_\w+\(\s*'{name}'", command + shared), word


def test_what_is_missing_is_named(made):
  done, _ = _run(made, 'unpack', 'nonsense')
  assert done.returncode == 1 and 'no step nonsense' in done.stderr
  done, _ = _run(made, 'table1')
  assert done.returncode == 1 and 'run the step weights' in done.stderr
  (made / 'TH14_Test_set_mp4.zip').unlink()
  done, _ = _run(made, 'unpack')
  assert done.returncode == 1
  assert 'TH14_Test_set_mp4.zip is missing: download it' in done.stderr
  assert (made / 'videos' / 'video_val_1.mp4').exists()


def test_every_step_is_documented():
  text = (_ROOT / 'docs' / 'thumos14.md').read_text()
  steps = re.search(r'^steps=\((.*?)\)', _SCRIPT.read_text(), re.S | re.M)[1]
  for step in steps.split():
    assert f'`{step}`' in text or f' {step}' in text, step
