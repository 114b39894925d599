import pytest

from cmsn_jax.video import video_files


@pytest.fixture
def videos(tmp_path):
  for name in ('a.mp4', 'b.mp4', 'broken.MOV', 'notes.txt', '._a.mp4'):
    (tmp_path / name).write_bytes(b'x')
  return tmp_path


def test_videos_of_a_folder_by_name(videos):
  found = video_files.find_videos(videos)
  assert list(found) == ['a', 'b', 'broken']
  assert found['broken'].name == 'broken.MOV'


def test_two_files_of_one_name_are_an_error(videos):
  (videos / 'a.avi').write_bytes(b'x')
  with pytest.raises(video_files.VideoError, match='a.avi and a.mp4'):
    video_files.find_videos(videos)


def test_a_folder_without_videos_and_no_folder(tmp_path):
  with pytest.raises(video_files.VideoError, match='no video file in it'):
    video_files.find_videos(tmp_path)
  with pytest.raises(video_files.VideoError, match='not a folder'):
    video_files.find_videos(tmp_path / 'none')
