"""What `config.data` names, opened."""

import shutil

import pytest

from cmsn_jax.data import opening
from cmsn_jax.data.synthetic import video
from cmsn_jax.settings import default
from cmsn_jax.video import video_files
from tests.video import made_kinds


def _config(folder, videos):
  config = default.get_config()
  config.data.input = 'video'
  config.data.annotations = str(folder / 'annotations.json')
  config.data.videos = str(videos)
  config.data.holdout = 0.0
  return config


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  folder = tmp_path_factory.mktemp('made')
  video.generate(folder, num_videos=3, duration_sec=20.0)
  return folder


def test_videos_of_several_folders(made, tmp_path):
  files = sorted((made / 'videos').iterdir())
  for day, file in enumerate(files):
    (tmp_path / f'day{day}').mkdir()
    shutil.copy(file, tmp_path / f'day{day}')
  config = _config(made, tmp_path / '**' / '*.mp4')
  data = opening.open_video(config, tmp_path / 'run')
  assert set(data.train) | set(data.held_out) <= {file.stem for file in files}
  assert len(data.train) + len(data.held_out) == 2


def test_two_files_of_one_annotated_id(made, tmp_path):
  for day in ('day1', 'day2'):
    shutil.copytree(made / 'videos', tmp_path / day)
  with pytest.raises(ValueError, match='same video id'):
    opening.open_video(
      _config(made, tmp_path / '*' / '*.mp4'), tmp_path / 'run'
    )


def test_damaged_videos_train_with_what_is_there(made, tmp_path):
  """Cut off, or of the stated length and empty from the middle on."""
  folder = tmp_path / 'videos'
  shutil.copytree(made / 'videos', folder)
  for path in sorted(folder.iterdir()):
    made_kinds.copy(path, tmp_path / f'{path.stem}.mkv')
    path.unlink()
    (tmp_path / f'{path.stem}.mkv').rename(folder / f'{path.stem}.mkv')
  data = opening.open_video(_config(made, folder), tmp_path / 'whole')
  whole = {**data.train, **data.held_out}
  lost, cut = (folder / f'{name}.mkv' for name in whole)
  made_kinds.empty_from_the_middle(lost)
  cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
  config = _config(made, folder)
  with pytest.raises(ValueError, match='--allow_damage') as caught:
    opening.open_video(config, tmp_path / 'refused')
  assert str(lost) in str(caught.value) and str(cut) in str(caught.value)
  with (
    made_kinds.damage_allowed(),
    pytest.warns(video_files.VideoWarning) as told,
  ):
    data = opening.open_video(config, tmp_path / 'allowed')
  words = ' '.join(str(one.message) for one in told)
  for path in (lost, cut):
    assert f'{path.stem}: ' in words and 'instances are left out' in words
    video = {**data.train, **data.held_out}[path.stem]
    assert 5 < video.duration_sec < 15
    assert (video.segments <= video.duration_sec).all()
    assert video.duration_sec < whole[path.stem].duration_sec - 5
    assert data.annotations.videos[path.stem] is video
  # Without the flag, what was kept says what does work.
  config.data.frames_cache = str(tmp_path / 'allowed' / 'frames')
  with pytest.raises(ValueError, match='--allow_damage'):
    opening.open_video(config, tmp_path / 'allowed')
