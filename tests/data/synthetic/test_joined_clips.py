"""Joined clips: truth lies where the pictures change, subsets share no clip."""

import filecmp
import functools
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.data.synthetic import joined_clips
from cmsn_jax.video import decoding
from tests.pretraining import test_clips

# Each class has its own brightness, each clip of it a shade of that.
_LEVELS = {'jump': 40, 'turn': 100, 'walk': 180}
_PER_CLASS, _STEP = 5, 10
_SETTINGS = dict(
  background=['walk'], videos=(3, 1, 2), duration_sec=12.0,
  piece_sec=(1.0, 2.5), fps=10.0, size=(32, 48),
)  # fmt: skip


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
  folder = tmp_path_factory.mktemp('clips')
  for name, level in _LEVELS.items():
    for k in range(_PER_CLASS):
      shade = np.full((30, 32, 48, 3), level + _STEP * k, np.uint8)
      test_clips.write_clip(folder / name / f'{name}_{k}.mp4', shade)
  return folder


@pytest.fixture(scope='module')
def made(clips, tmp_path_factory):
  output = tmp_path_factory.mktemp('joined')
  path = joined_clips.join(clips, output, seed=3, **_SETTINGS)
  return output, activitynet.read(path).videos


def clip_of_each_frame(path):
  """(class, clip's number) of each frame, by its brightness."""
  means = decoding.read(path, fps=10.0, size=None).mean((1, 2, 3))
  found = []
  for mean in means:
    name = max((n for n in _LEVELS if _LEVELS[n] <= mean + 4), key=_LEVELS.get)
    number = (mean - _LEVELS[name]) / _STEP
    assert abs(number - round(number)) < 0.3, mean
    found.append((name, round(number)))
  return found


def test_truth_is_where_the_pictures_are(made):
  output, videos = made
  subsets = [known.subset for known in videos.values()]
  assert subsets == ['training'] * 3 + ['validation'] + ['testing'] * 2
  for video_id, known in videos.items():
    shown = clip_of_each_frame(output / 'videos' / f'{video_id}.mp4')
    assert known.duration_sec == len(shown) / 10
    assert known.duration_sec >= 12
    expected = ['walk'] * len(shown)
    for (start, end), label in zip(known.segments, known.labels):
      assert 1.0 <= round(end - start, 6) <= 2.5
      first, last = round(start * 10), round(end * 10)
      # One clip throughout, another before and after.
      assert len(set(shown[first:last])) == 1
      assert shown[first - 1][0] == 'walk' and shown[last][0] == 'walk'
      expected[first:last] = [label] * (last - first)
    assert [name for name, _ in shown] == expected
    assert len(known.labels) > 0


def test_no_clip_is_in_two_subsets_and_background_is_cut_too(made):
  output, videos = made
  used, cuts = {}, 0
  for video_id, known in videos.items():
    shown = clip_of_each_frame(output / 'videos' / f'{video_id}.mp4')
    used.setdefault(known.subset, set()).update(shown)
    cuts += sum(
      a != b and a[0] == b[0] == 'walk' for a, b in zip(shown, shown[1:])
    )
  sets = list(used.values())
  assert len(sets) == 3 and cuts > 5
  assert sum(map(len, sets)) == len(set.union(*sets))
  # Each clip once before any comes again: of five a class, three are for
  # training, of two action classes.
  count = sum(len(v.labels) for v in videos.values() if v.subset == 'training')
  actions = {clip for clip in used['training'] if clip[0] != 'walk'}
  assert len(actions) == min(6, count)


def test_same_seed_same_files(clips, made, tmp_path):
  output, videos = made
  joined_clips.join(clips, tmp_path, seed=3, **_SETTINGS)
  names = ['annotations.json', *(f'videos/{v}.mp4' for v in videos)]
  for name in names:
    assert filecmp.cmp(output / name, tmp_path / name, shallow=False), name
  joined_clips.join(clips, tmp_path, seed=4, **_SETTINGS)
  assert not filecmp.cmp(output / names[0], tmp_path / names[0], shallow=False)
  assert not list(tmp_path.glob('**/*.tmp'))


def test_without_background_a_picture_stands_still(clips, tmp_path):
  folder = tmp_path / 'two'
  folder.mkdir()
  for name in ('jump', 'turn'):
    (folder / name).symlink_to(clips / name)
  settings = _SETTINGS | {'background': (), 'videos': (1, 0, 1)}
  path = joined_clips.join(folder, tmp_path / 'out', **settings)
  for video_id, known in activitynet.read(path).videos.items():
    shown = clip_of_each_frame(tmp_path / 'out' / 'videos' / f'{video_id}.mp4')
    previous = 0
    for start, end in np.round(known.segments * 10).astype(int):
      assert len(set(shown[previous:start])) == 1  # still
      assert start - previous >= 10
      previous = end
    assert len(shown) - previous >= 10


def test_clips_are_shared_out_by_group_and_class():
  clips = [
    joined_clips.Clip(f'{c}/v_{c}_g{g:02d}_c{i}.avi', c)
    for c in 'ab' for g in range(10) for i in range(2)
  ]  # fmt: skip
  parts = joined_clips.split(clips, (0.6, 0, 0.4), np.random.default_rng(0))
  assert [len(part) for part in parts] == [24, 0, 16]
  groups = [{clip.path[:9] for clip in part} for part in parts]
  assert not groups[0] & groups[2] and len(groups[0]) == 12
  # The shortest that goes: one each.
  parts = joined_clips.split(
    clips[:6], (0.98, 0.01, 0.01), np.random.default_rng(0)
  )
  assert [len(part) for part in parts] == [2, 2, 2]
  with pytest.raises(ValueError, match="'a' has 2 clips .* 3 subsets need"):
    joined_clips.split(clips[:4], (1, 1, 1), np.random.default_rng(0))


@pytest.mark.parametrize(
  ('settings', 'words'),
  [
    ({'background': ['run']}, r"classes \['run'\] are not among them"),
    ({'background': ['jump', 'turn', 'walk']}, 'at least one action class'),
    ({'videos': (0, 0, 0)}, 'not all 0'),
    ({'shares': (1, 0, 0)}, 'positive for each subset'),
    ({'piece_sec': (3.0, 2.0)}, 'shortest <= longest'),
    ({'size': (33, 48)}, 'even numbers'),
  ],
)
def test_wrong_settings(clips, tmp_path, settings, words):
  with pytest.raises(ValueError, match=words):
    joined_clips.join(clips, tmp_path / 'x', **(_SETTINGS | settings))
  assert not (tmp_path / 'x').exists()


def test_command(clips, tmp_path):
  command = [
    sys.executable, '-m', 'launch.join_clips', f'--input={clips}',
    f'--output={tmp_path / "out"}', '--background=walk', '--seconds=8',
    '--fps=10', '--size=32,48', '--piece_seconds=1,2',
  ]  # fmt: skip
  root = pathlib.Path(__file__).parents[3]
  run = functools.partial(
    subprocess.run, cwd=root, capture_output=True, text=True, timeout=120
  )
  done = run([*command, '--videos=1,0,0'])
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith('wrote 1 videos, ')
  assert (tmp_path / 'out' / 'videos' / 'training_000.mp4').exists()
  done = run([*command, '--videos=1,x'])
  assert done.returncode == 2
  assert '--videos must be 3 numbers' in done.stderr
