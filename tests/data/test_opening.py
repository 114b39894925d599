"""What `config.data` names, opened."""

import shutil

import pytest

from cmsn_jax.data import opening
from cmsn_jax.data.synthetic import video
from cmsn_jax.settings import default


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
