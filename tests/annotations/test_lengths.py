"""Which folders give durations: of videos of any suffix, of features."""

import numpy as np
import pytest

from cmsn_jax.annotations import importers, lengths
from cmsn_jax.files import feature_files
from cmsn_jax.video import video_files
from tests.video import made_videos


def test_a_folder_of_any_of_the_containers_has_durations(tmp_path):
  for number, suffix in enumerate(['.m4v', '.ts', '.TS', '.mkv']):
    made_videos.make(tmp_path / f'v{number}.mp4', num_frames=25)
    (tmp_path / f'v{number}.mp4').rename(tmp_path / f'v{number}{suffix}')
  (tmp_path / 'labels.csv').write_text('video,start,end,label\n')
  found = lengths.read(tmp_path)
  assert sorted(found) == ['v0', 'v1', 'v2', 'v3']
  for length in found.values():
    assert length.duration_sec == pytest.approx(1.0, abs=0.05)
    assert length.fps == pytest.approx(25)


def test_a_stray_picture_makes_no_videos_of_features(tmp_path):
  for name in ('a', 'b'):
    np.save(tmp_path / f'{name}.npy', np.zeros((8, 3), np.float32))
  (tmp_path / 'figure.gif').write_bytes(b'GIF89a')
  with pytest.warns(feature_files.FeatureFileWarning, match='not measured'):
    found = lengths.read(tmp_path, feature_fps=2.0)
  assert found == {'a': lengths.Length(4.0), 'b': lengths.Length(4.0)}


def test_two_videos_of_one_name_are_refused(tmp_path):
  for suffix in ('.mp4', '.m4v'):
    (tmp_path / f'a{suffix}').write_bytes(b'x')
  with pytest.raises(video_files.VideoError, match='same video id'):
    lengths.read(tmp_path)


@pytest.mark.parametrize('suffix', sorted(video_files.SUFFIXES))
def test_no_container_s_suffix_is_part_of_an_id(tmp_path, suffix):
  path = tmp_path / 'labels.csv'
  path.write_text(f'video,start,end,label,duration\na{suffix},1,2,run,9\n')
  read = importers.convert(path)
  assert list(read.annotations.videos) == ['a']
  assert any('without folder and suffix' in note for note in read.notes)


def test_a_dot_in_an_id_is_no_suffix(tmp_path):
  path = tmp_path / 'labels.csv'
  path.write_text('video,start,end,label,duration\ncam.1,1,2,run,9\n')
  assert list(importers.convert(path).annotations.videos) == ['cam.1']
