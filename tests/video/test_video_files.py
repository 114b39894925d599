import pytest

from cmsn_jax.video import video_files


@pytest.fixture
def videos(tmp_path):
  for name in ('a.mp4', 'b.mp4', 'broken.MOV', 'notes.txt'):
    (tmp_path / name).write_bytes(b'x')
  return tmp_path


def test_find(videos):
  assert sorted(video_files.find(str(videos))) == ['a', 'b', 'broken']
  assert list(video_files.find(str(videos / 'a.mp4'))) == ['a']
  assert sorted(video_files.find(str(videos / '[ab].mp4'))) == ['a', 'b']
  (videos / '[ab].mp4').write_bytes(b'x')
  assert list(video_files.find(str(videos / '[ab].mp4'))) == ['[ab]']
  with pytest.raises(FileNotFoundError, match='nothing'):
    video_files.find(str(videos / 'nothing*.mp4'))
  (videos / 'a.avi').write_bytes(b'x')
  with pytest.raises(ValueError, match='same video id'):
    video_files.find(str(videos / 'a.*'))
