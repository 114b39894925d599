import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]


def run(module, *arguments):
  return subprocess.run(
    [sys.executable, '-m', f'launch.{module}', *map(str, arguments)],
    cwd=ROOT, capture_output=True, text=True, timeout=120,
  )  # fmt: skip


def test_csv_to_json_with_durations_of_features(tmp_path):
  (tmp_path / 'labels.csv').write_text('video,start,end,label\na,1,2.5,run\n')
  (tmp_path / 'features').mkdir()
  np.save(tmp_path / 'features' / 'a.npy', np.zeros((50, 4)))
  output = tmp_path / 'new' / 'a.json'
  done = run(
    'convert_annotations', f'--source={tmp_path / "labels.csv"}',
    '--format=csv', f'--durations={tmp_path / "features"}', '--feature_fps=5',
    '--subset=testing', f'--output={output}',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert json.loads(output.read_text())['database'] == {
    'a': {
      'subset': 'testing',
      'duration': 10.0,
      'annotations': [{'segment': [1.0, 2.5], 'label': 'run'}],
    }
  }
  assert 'stage Ready' in done.stdout
  assert f'wrote 1 videos to {output}' in done.stdout

  done = run(
    'label_statistics', f'--annotations={output}',
    f'--features={tmp_path / "features"}', '--feature_fps=5',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert 'window:' in done.stdout
  # The durations were computed from these features.
  assert 'lengths fit' not in done.stdout
  assert 'nothing was checked' in done.stdout


@pytest.mark.parametrize(
  ('arguments', 'words'),
  [
    (['--format=csv'], '--source is needed'),
    (['--source=absent', '--output=y'], 'absent: no such file'),
    (['--source=absent', '--output=y', '--format=csv'], 'absent: no such file'),
    (['--source=README.md', '--output=y', '--format=xyz'], "got 'xyz'"),
    (['--source=Makefile', '--output=y'], 'not of a known'),
    (['--source=README.md', '--output=y', '--where=x'], 'NAME=VALUE'),
    (['--source=README.md', '--output=y', '--fps=-1'], 'fps must be positive'),
  ],
)
def test_wrong_calls_exit_with_2(arguments, words):
  done = run('convert_annotations', *arguments)
  assert done.returncode == 2
  assert words in done.stderr.splitlines()[-1]
  assert 'Traceback' not in done.stderr


def test_wrong_input_exits_with_2_and_writes_nothing(tmp_path):
  (tmp_path / 'labels.csv').write_text('video,start,end,label\na,3,2,run\n')
  done = run(
    'convert_annotations', f'--source={tmp_path / "labels.csv"}',
    '--format=csv', f'--output={tmp_path / "a.json"}',
  )  # fmt: skip
  assert done.returncode == 2
  assert 'a: no duration' in done.stderr
  assert not (tmp_path / 'a.json').exists()


def test_features_that_do_not_fit_exit_with_2(tmp_path):
  document = {
    'database': {'a': {'subset': 'training', 'duration': 10, 'annotations': []}}
  }
  (tmp_path / 'a.json').write_text(json.dumps(document))
  np.save(tmp_path / 'a.npy', np.zeros((250, 4)))
  done = run(
    'label_statistics', f'--annotations={tmp_path / "a.json"}',
    f'--features={tmp_path}', '--feature_fps=5',
  )  # fmt: skip
  assert done.returncode == 2
  assert 'feature_fps 25 would fit' in done.stderr


def test_real_thumos14(real_data, tmp_path):
  done = run(
    'convert_annotations', f'--source={real_data("thumos14")}',
    '--format=thumos14', f'--output={tmp_path / "a.json"}',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert 'context hits another' in done.stdout and '(43.3%)' in done.stdout
  database = json.loads((tmp_path / 'a.json').read_text())['database']
  assert len(database) == 413
  assert sum(len(v['annotations']) for v in database.values()) == 6553
