"""The command: what it writes, what it leaves out, how it ends."""

import csv
import subprocess
import sys

import numpy as np
import pytest

from cmsn_jax.files import proposal_files
from cmsn_jax.video import decoding
from tests.launch import test_commands
from tests.video import made_kinds, made_videos


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('clips')
  (folder / 'videos').mkdir()
  for name in ('a', 'b'):
    made_videos.make(folder / 'videos' / f'{name}.mp4')
  cut = (folder / 'videos' / 'b.mp4').read_bytes()
  (folder / 'videos' / 'b.mp4').write_bytes(cut[: len(cut) // 2])
  segments = np.array([[0.4, 0.8], [1.0, 1.2], [0.5, 0.9], [0.0, 0.2]])
  found = proposal_files.Proposals(
    segments, np.array([0.9, 0.8, 0.7, 0.1]), ('rear', 'groom', 'rear', 'rear')
  )
  proposal_files.write(
    folder / 'proposals.json', {'a': found, 'b': found, 'none': found}
  )
  return folder


def _call(folder, *flags, status=0):
  done = subprocess.run(
    [
      sys.executable, '-m', 'launch.clips',
      f'--proposals={folder}/proposals.json', f'--videos={folder}/videos',
      *flags,
    ],
    cwd=test_commands._ROOT, capture_output=True, text=True, timeout=120,
  )  # fmt: skip
  assert done.returncode == status, (done.stdout + done.stderr)[-3000:]
  return done


def test_what_can_be_cut_is_and_the_rest_is_told(folder, tmp_path):
  done = _call(
    folder, f'--output={tmp_path}', '--top=3', '--min_score=.2',
    '--write=clips,subtitles,sheets,montage', status=1,
  )  # fmt: skip
  assert 'failed: b: ' in done.stdout and 'failed: none: ' in done.stdout
  assert done.stderr.splitlines()[-1] == (
    'error: 2 of 3 recordings failed, the others are done'
  )
  names = sorted(
    file.relative_to(tmp_path).as_posix()
    for file in tmp_path.rglob('*')
    if file.is_file()
  )
  assert names == [
    'a.png', 'a.srt', 'a.vtt', 'a/001_0.40s.mp4', 'a/002_1.00s.mp4',
    'a/003_0.50s.mp4', 'clips.csv', 'montage.mp4',
  ]  # fmt: skip
  with open(tmp_path / 'clips.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [row['first_frame'] for row in rows] == ['10', '25', '12']
  assert [row['label'] for row in rows] == ['rear', 'groom', 'rear']
  assert decoding.probe(tmp_path / 'montage.mp4').num_frames == 10 + 10 + 5
  assert '00:00:00,400 --> 00:00:00,800' in (tmp_path / 'a.srt').read_text()


def test_labels_and_overlaps_limit_what_is_shown(folder, tmp_path):
  _call(
    folder, f'--output={tmp_path}', '--label=rear', '--non_overlapping',
    '--write=clips', '--nocaptions', status=1,
  )  # fmt: skip
  assert sorted(file.name for file in (tmp_path / 'a').iterdir()) == [
    '001_0.40s.mp4', '002_0.00s.mp4',
  ]  # fmt: skip
  # Its own size, without a band: 96 x 160 enlarged.
  info = decoding.probe(tmp_path / 'a' / '001_0.40s.mp4')
  assert (info.height, info.width) == (240, 400)


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--label=dig'], "has no proposal labelled 'dig'; its labels are groom"),
    (['--write=gif'], '--write must be some of clips, montage'),
    (['--best=f1'], '--best=f1 needs a trained run'),
    (['--top=-1'], 'must be at least 0'),
  ],
)
def test_wrong_calls_say_why(folder, tmp_path, flags, message):
  done = _call(folder, f'--output={tmp_path}/x', *flags, status=2)
  assert message in done.stderr.splitlines()[-1]
  assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize('empty', [False, True])
def test_a_recording_that_was_cut_off_is_cut_as_far_as_it_goes(tmp_path, empty):
  """Its proposals are those of the whole one, the best of them behind its end."""
  (tmp_path / 'videos').mkdir()
  path = made_videos.make(
    tmp_path / 'videos' / 'a.mp4',
    num_frames=100,
    noise=20,
    container_options={'movflags': 'faststart'},
  )
  if empty:
    made_kinds.empty_from_the_middle(path)
  else:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  found = proposal_files.Proposals(
    np.array([[3.0, 3.6], [0.4, 0.8], [1.0, 3.9]]), np.array([0.9, 0.8, 0.7])
  )
  proposal_files.write(tmp_path / 'proposals.json', {'a': found})
  output = tmp_path / 'clips'
  done = _call(
    tmp_path, f'--output={output}', '--write=clips,sheets,montage', '--top=2',
    '--allow_damage',
  )  # fmt: skip
  assert 'what is there is read' in done.stderr
  assert '1 of its 3 proposals begin later and are left out' in done.stderr
  names = sorted(file.name for file in (output / 'a').iterdir())
  assert names == ['001_0.40s.mp4', '002_1.00s.mp4']
  assert (output / 'montage.mp4').exists() and (output / 'a.png').exists()
