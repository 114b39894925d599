"""The command: what it prints, what it writes, how it ends."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def files(tmp_path):
  truth = {
    'subset': 'testing',
    'duration': 60.0,
    'annotations': [
      {'segment': [0, 10], 'label': 'x'},
      {'segment': [20, 30], 'label': 'Ambiguous'},
    ],
  }
  (tmp_path / 'annotations.json').write_text(
    json.dumps({'version': '1', 'database': {'a': truth}})
  )
  found = [{'segment': [0, 10], 'score': 0.9}]
  (tmp_path / 'proposals.json').write_text(
    json.dumps({'version': '1', 'results': {'a': found, 'other': found}})
  )
  return tmp_path


def _run(folder, *arguments):
  command = [
    sys.executable,
    '-m',
    'launch.evaluate',
    f'--proposals={folder}/proposals.json',
    f'--annotations={folder}/annotations.json',
    *arguments,
  ]
  return subprocess.run(
    command, cwd=_ROOT, capture_output=True, text=True, timeout=120
  )


def test_prints_and_writes(files):
  done = _run(
    files,
    '--output',
    str(files / 'out'),
    '--exclude_labels=Ambiguous',
    '--ans=1,5',
    '--protocol=top_k',
  )
  assert done.returncode == 0, done.stderr
  assert 'AR  1.0000  1.0000' in done.stdout
  assert "1 of 2 videos, which are not in the ground truth: 'other'" in (
    done.stderr
  )
  document = json.loads((files / 'out' / 'metrics.json').read_text())
  assert document['ar_at_an'] == {'1': 1.0, '5': 1.0}
  assert document['num_ground_truth'] == 1
  assert (files / 'out' / 'ar_an.png').stat().st_size > 1000


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['--protocol=coco'], "protocol must be one of .*'coco'"),
    (['--ans=10,-5'], '--ans must be .* got -5'),
    (['--ans=ten'], "--ans must be numbers .* 'ten'"),
    (['--subset=training'], 'no video in subset'),
    (['--proposals=nowhere.json'], 'nowhere.json: no such file'),
    (['--proposals='], '--proposals is needed'),
    (['--protocl=thumos'], "Unknown command line flag 'protocl'"),
    (['--fps=fast'], '--fps=fast'),
    (['stray'], "unexpected argument 'stray'"),
  ],
)
def test_wrong_calls_end_with_2_and_say_why(files, arguments, message):
  done = _run(files, *arguments)
  assert done.returncode == 2
  last = done.stderr.strip().splitlines()[-1]
  assert last.startswith('error: ')
  assert re.search(message, last), last
  assert 'Traceback' not in done.stderr


def test_not_writable_is_reported(files):
  (files / 'file').write_text('')
  done = _run(files, f'--output={files}/file')
  assert done.returncode in (1, 2)
  assert 'Traceback' not in done.stderr
  assert str(files / 'file') in done.stderr.strip().splitlines()[-1]


def _label(folder):
  rows = [
    {'segment': [20, 31], 'score': 0.95, 'label': 'x'},
    {'segment': [0, 10], 'score': 0.9, 'label': 'x'},
    {'segment': [0, 9], 'score': 0.8, 'label': 'x'},
  ]
  (folder / 'proposals.json').write_text(
    json.dumps({'version': '1', 'results': {'a': rows}})
  )


def test_map_of_labelled_proposals(files):
  _label(files)
  done = _run(
    files, '--protocol=map_anet', '--class_nms=greedy', '--nms_tiou=.5',
    f'--output={files}/out',
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  document = json.loads((files / 'out' / 'metrics.json').read_text())
  assert document['protocol'] == 'map_anet'
  # One overlaps what is ambiguous, one is dropped.
  assert document['map'] == 1
  assert document['num_detections'] == 2
  assert document['num_ambiguous'] == 1
  assert 'mAP   1.0000' in done.stdout


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['--protocol=map'], 'mAP needs "label" in every row'),
    (['--protocol=map', '--ans=10'], '--ans is for AR@AN and has no effect'),
    (['--protocol=map', '--class_nms=hard'], 'none, greedy, soft'),
    (['--protocol=map', '--nms_tiou=.5'], '--nms_tiou is for --class_nms'),
    (['--class_nms=soft'], '--class_nms is for mAP'),
    (
      ['--protocol=map', '--class_nms=greedy', '--nms_tiou=2'],
      '--nms_tiou must be in 0..1',
    ),
    (
      ['--protocol=map', '--class_nms=soft', '--nms_sigma=nan'],
      '--nms_sigma must be above 0',
    ),
  ],
)
def test_map_refuses_what_has_no_effect(files, arguments, message):
  done = _run(files, *arguments)
  assert done.returncode == 2
  assert message in done.stderr
