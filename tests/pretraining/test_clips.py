import pathlib

import av
import numpy as np
import pytest

from cmsn_jax.pretraining import clips
from cmsn_jax.video import video_files
from tests.video import made_kinds, made_videos


def write_clip(path, frames, fps=10):
  """A video of the given RGB frames."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=fps)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = 'yuv420p'
    stream.options = {'crf': '10', 'preset': 'ultrafast'}
    for frame in frames:
      picture = av.VideoFrame.from_ndarray(frame, format='rgb24')
      container.mux(stream.encode(picture))
    container.mux(stream.encode(None))


def shades(count, size=(32, 48)):
  """Frames whose brightness is 8 times their number."""
  values = (np.arange(count) * 8).astype(np.uint8)
  return np.broadcast_to(values[:, None, None, None], (count, *size, 3)).copy()


def make(folder, names, count=20):
  for name in names:
    write_clip(folder / name, shades(count))
  return folder


def opened(folder, **settings):
  return clips.open_folder(folder, fps=10.0, size=(32, 48), **settings)


def test_classes_are_folders_and_groups_stay_together(tmp_path):
  names = [f'{c}/v_g0{g}_c0{i}.mp4' for c in 'ab' for g in (1, 2, 3)
           for i in (1, 2)]  # fmt: skip
  train, validation = opened(make(tmp_path, names), holdout=0.3)
  assert train.classes == validation.classes == ('a', 'b')
  assert (len(train), len(validation)) == (8, 4)
  assert {n.split('_')[-2] for n in map(validation.name, range(4))} == {'g03'}
  assert [validation.label(i) for i in range(4)] == [0, 0, 1, 1]


def test_lists_and_named_folders(tmp_path):
  folder = make(
    tmp_path / 'x', ['train/a/1.mp4', 'train/b/2.mp4', 'val/a/3.mp4']
  )
  train, validation = opened(folder)
  assert (len(train), len(validation)) == (2, 1)
  (tmp_path / 'train.txt').write_text('train/a/1.mp4 1\n\ntrain/b/2.mp4 2\n')
  (tmp_path / 'test.txt').write_text('val/a/3.mp4\n')
  lists = {'train_list': tmp_path / 'train.txt',
           'validation_list': tmp_path / 'test.txt'}  # fmt: skip
  train, validation = opened(folder, **lists)
  assert train.classes == ('a', 'b') and validation.name(0).endswith('3.mp4')
  (tmp_path / 'test.txt').write_text('val/a/4.mp4\n')
  with pytest.raises(ValueError, match='1 of 1 clips are not in.*4.mp4'):
    opened(folder, **lists)
  with pytest.raises(ValueError, match='both train_list and validation_list'):
    opened(folder, train_list=tmp_path / 'train.txt')


def test_bad_folders_are_named(tmp_path):
  with pytest.raises(ValueError, match='no such folder'):
    opened(tmp_path / 'none')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match='one folder of videos for each class'):
    opened(tmp_path / 'empty')
  with pytest.raises(ValueError, match="class 'a' has 1 clip"):
    opened(make(tmp_path / 'one', ['a/1.mp4']))
  with pytest.raises(ValueError, match='at least two classes'):
    opened(make(tmp_path / 'two', ['a/1.mp4', 'a/2.mp4']))
  with pytest.raises(ValueError, match='holdout must be between'):
    opened(tmp_path / 'two', holdout=1.0)


def test_training_clips_lie_in_their_parts_and_repeat_by_seed(tmp_path):
  source, _ = opened(make(tmp_path, ['a/1.mp4', 'a/2.mp4', 'b/1.mp4',
                                     'b/2.mp4']))  # fmt: skip
  settings = {'segments': 2, 'frames': 4, 'crop': (16, 16)}
  read = lambda seed: clips.training_clips(
    source, 0, np.random.default_rng(seed), **settings
  )
  first = read(0)
  assert first.shape == (2, 4, 16, 16, 3)
  np.testing.assert_array_equal(first, read(0))
  numbers = np.round(first.mean(axis=(2, 3, 4)) / 8)
  assert (np.diff(numbers, axis=1) == 1).all()
  assert numbers[0, 0] <= 8 <= numbers[1, 0] <= 16
  starts = {
    tuple(np.round(read(s)[:, 0].mean(axis=(1, 2, 3)))) for s in range(9)
  }
  assert len(starts) > 3


def test_validation_clips_are_even_and_short_clips_stand_still(tmp_path):
  source, _ = opened(make(tmp_path, ['a/1.mp4', 'a/2.mp4', 'b/1.mp4',
                                     'b/2.mp4'], count=6))  # fmt: skip
  got = clips.validation_clips(source, 0, clips=2, frames=4, crop=(8, 8))
  numbers = np.round(got.mean(axis=(2, 3, 4)) / 8)
  assert numbers[:, 0].tolist() == [0, 2]
  got = clips.validation_clips(source, 0, clips=1, frames=8, crop=(8, 8))
  numbers = np.round(got.mean(axis=(2, 3, 4)) / 8)
  assert numbers[0].tolist() == [0, 1, 2, 3, 4, 5, 5, 5]


def test_clips_that_are_empty_from_the_middle_on(tmp_path):
  for k in range(4):
    path = tmp_path / 'ab'[k % 2] / f'v_g{k // 2:02}.mkv'
    path.parent.mkdir(exist_ok=True)
    made_videos.make(path, num_frames=60, rate=10, noise=20, options={'g': '9'})
  train, _ = opened(tmp_path)
  made_kinds.empty_from_the_middle(pathlib.Path(train.name(0)))
  with pytest.raises(video_files.VideoError, match='allow_damage'):
    train.read(0, 0, train.num_frames(0))
  with made_kinds.damage_allowed():
    train, _ = opened(tmp_path)
    with pytest.warns(video_files.VideoWarning):
      count = train.num_frames(0)
      assert 5 < count < 59
      assert len(train.read(0, count - 1, count)) == 1
