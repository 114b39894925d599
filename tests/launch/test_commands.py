"""The commands as a user calls them: what they write, how they end."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from launch import cli

_DEFAULT = '--config=configs/default.py'
_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _call(command, *flags, status=0, timeout=400):
  done = subprocess.run(
    [sys.executable, '-m', f'launch.{command}', *flags],
    cwd=_ROOT, capture_output=True, text=True, timeout=timeout,
  )  # fmt: skip
  assert done.returncode == status, (done.stdout + done.stderr)[-3000:]
  return done


def _last_line(done):
  return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
  ('flags', 'expected'),
  [
    ((_DEFAULT, '--config.train.sede=1'), "did you mean 'seed'"),
    ((_DEFAULT, '--workdr=x'), 'workdr'),
    ((_DEFAULT, '--workdir=W', '--phase=stage'), '--phase=stage: the chain'),
    (
      ('--workdir=W', '--config=configs/custom.py:smoke', '--phase=stages'),
      "'template' has the phases joint, student",
    ),
    ((_DEFAULT,), '--workdir is needed'),
    (('--workdir=W',), '--config is needed'),
    (('--workdir=W', '--config.train.seed=1'), 'config.train.seed'),
    (('--workdir=W', '--config=configs/none.py'), 'none.py'),
    (('--workdir=W', '--config=configs/custom.py:tiny'), "must be 'smoke'"),
  ],
)
def test_a_wrong_call_of_train_ends_with_2_and_says_what(flags, expected):
  done = _call('train', *flags, status=2)
  assert expected in done.stderr, done.stderr[-2000:]


def test_batches_come_from_a_thread_where_tensorflow_is_not():
  code = """
import sys
sys.modules['tensorflow'] = None  # As if it were not installed.
from launch import train
assert train._pipeline('auto') is None
train._pipeline('tf')
"""
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=_ROOT, capture_output=True, text=True,
    timeout=100,
  )  # fmt: skip
  assert 'ValueError: --input_pipeline=tf needs TensorFlow' in done.stderr


def test_missing_data_ends_with_2_and_names_it(tmp_path):
  done = _call('train', _DEFAULT, f'--workdir={tmp_path}', status=2)
  assert 'config.data.annotations is empty' in _last_line(done)


def test_no_trained_run_ends_with_2(tmp_path):
  done = _call(
    'propose', f'--workdir={tmp_path}', f'--input={tmp_path}',
    f'--output={tmp_path}/p.json', status=2,
  )  # fmt: skip
  assert 'no trained model' in _last_line(done)


@pytest.mark.slow
def test_train_propose_evaluate_export_report(tmp_path):
  run, output = tmp_path / 'run', tmp_path / 'p.json'
  _call(
    'train', '--config=configs/gestures.py:smoke', f'--workdir={run}',
    '--config.data.annotations=generated:5x40', '--quiet',
  )  # fmt: skip
  annotations = run / 'generated' / 'annotations.json'
  data = [
    f'--input={run}/generated/features', f'--annotations={annotations}',
    '--subset=testing',
  ]  # fmt: skip
  _call(
    'propose', f'--workdir={run}', *data, f'--output={output}',
    f'--csv={tmp_path}/p.csv', f'--save_stages={tmp_path}/stages',
    f'--plots={tmp_path}/plots',
  )  # fmt: skip
  assert (tmp_path / 'p.csv').read_text().startswith('video,start,end,score')
  assert list((tmp_path / 'plots').glob('*.png'))
  truth = [
    f'--proposals={output}', f'--annotations={annotations}', '--subset=testing',
  ]  # fmt: skip
  done = _call(
    'evaluate', *truth, '--protocol=top_k', f'--output={tmp_path}/metrics'
  )
  assert 'top_k' in done.stdout
  written = json.loads((tmp_path / 'metrics' / 'metrics.json').read_text())
  assert written['protocol'] == 'top_k'
  _call('export', f'--workdir={run}', f'--output={tmp_path}/export')
  _check_export(tmp_path, run, output)
  done = _call('inspect', '--config=configs/gestures.py', '--feature_dim=15')
  assert 'GFLOP' in done.stdout


def _check_export(tmp_path, run, output):
  """The exported model proposes what launch.propose wrote."""
  from cmsn_jax.chains.paper import predictor
  from cmsn_jax.files import proposal_files
  from cmsn_jax.proposing import exported, jax_programs

  model = exported.load(tmp_path / 'export', predictor.Predictor, jax_programs)
  for video_id, expected in proposal_files.read(output).items():
    features = np.load(run / 'generated' / 'features' / f'{video_id}.npy')
    segments, scores = model.propose(features)
    np.testing.assert_allclose(scores, expected.scores, atol=1e-5)
    assert len(segments) == len(expected.segments) > 0


def test_outputs_are_tried_before_the_work(tmp_path):
  (tmp_path / 'file').write_text('')
  good = str(tmp_path / 'a' / 'b.json')
  cli.check_outputs(
    files={'output': good, 'csv': ''}, folders={'plots': str(tmp_path / 'c')}
  )
  assert [p.name for p in tmp_path.iterdir()] == ['file']
  with pytest.raises(
    ValueError, match='--output=.* is a folder; give the name'
  ):
    cli.check_outputs(files={'output': str(tmp_path)})
  for folders in (
    {'plots': f'{tmp_path}/file'},
    {'plots': f'{tmp_path}/file/x'},
  ):
    with pytest.raises(
      ValueError, match='--plots=.*file is a file, not a fold'
    ):
      cli.check_outputs(folders=folders)
  with pytest.raises(ValueError, match='--output=/proc/.* cannot be written'):
    cli.check_outputs(files={'output': '/proc/p.json'})


# What opens videos, wherever a command or what it calls does it.
_OPENS_VIDEOS = (
  'open_run(', 'open_source(', 'probe(', 'lengths.read(', 'corpus.propose(',
  'cross_validation.plan(', 'clips.open_folder(', 'service_lib.',
)  # fmt: skip


def test_every_command_that_reads_videos_can_allow_damage():
  for path in (pathlib.Path(cli.__file__).parent).glob('*.py'):
    text = path.read_text()
    if path.stem in ('demo', 'report_run'):  # its own videos; launch.report
      continue
    if any(words in text for words in _OPENS_VIDEOS):
      assert 'video_flags' in text or 'input_flags' in text, path
