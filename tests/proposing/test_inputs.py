"""What a path is taken for: features, joined features, videos."""

import contextlib

import numpy as np
import pytest

from cmsn_jax.files import feature_gaps
from cmsn_jax.proposing import inputs
from cmsn_jax.runs import trained as trained_lib
from configs import rat_social


def _trained(width, sidecar=None):
  data = {'file_fps': 5.0, 'file_dim': width, 'pool': 1, 'sidecar': sidecar}
  return trained_lib.Trained(None, rat_social.get_config(), data, None, '')


def _open(path, width=4, feature_fps=5.0):
  with contextlib.ExitStack() as stack:
    return inputs.open_source(
      _trained(width), str(path), feature_fps, {}, stack
    )[:2]


def test_joined_feature_folders_are_opened_as_training_opens_them(tmp_path):
  for name, fps, rows in (('rgb', 5.0, 50), ('audio', 10.0, 100)):
    folder = tmp_path / name
    folder.mkdir()
    for video in ('a', 'b'):
      np.save(folder / f'{video}.npy', np.zeros((rows, 4), np.float32))
    (folder / 'features.json').write_text(f'{{"feature_fps": {fps}}}')
  both = f'{tmp_path}/rgb,{tmp_path}/audio'
  source, seconds = _open(both, 8, None)
  assert seconds == {'a': 10.0, 'b': 10.0}
  assert source.read('a', 0, 50).shape == (50, 8)
  with pytest.raises(FileNotFoundError, match='/sound: no such'):
    _open(f'{tmp_path}/rgb,{tmp_path}/sound', 8, None)


def test_a_table_beside_videos_makes_no_features_of_them(tmp_path):
  for name in ('a.mp4', 'b.MTS'):
    (tmp_path / name).write_bytes(b'x')
  (tmp_path / 'labels.csv').write_text('video,start,end,label\n')
  np.save(tmp_path / 'times.npy', np.zeros(3))
  with pytest.raises(ValueError, match='holds videos.* unknown extractor'):
    _open(tmp_path)
  # What is named as the videos are is their features.
  (tmp_path / 'labels.csv').unlink()
  np.save(tmp_path / 'a.npy', np.zeros((50, 4), np.float32))
  _, seconds = _open(tmp_path)
  assert seconds['a'] == 10.0


def test_a_picture_beside_features_makes_no_videos_of_them(tmp_path):
  np.save(tmp_path / 'a.npy', np.zeros((50, 4), np.float32))
  (tmp_path / 'overview.gif').write_bytes(b'GIF89a')
  _, seconds = _open(tmp_path)
  assert seconds == {'a': 10.0}


def test_gaps_are_filled_as_in_training(tmp_path):
  rows = np.arange(200.0).reshape(50, 4).astype(np.float32)
  rows[10:12, 1] = rows[20:40, 2] = np.nan
  np.save(tmp_path / 'a.npy', rows)
  run = _trained(4)
  with contextlib.ExitStack() as stack:
    source = inputs.open_source(run, str(tmp_path), 5.0, {}, stack).source
    with pytest.raises(ValueError, match='row 10, column 1'):
      source.read('a', 0, 50)
  run.config.data.fill_gaps_sec = 0.4
  with contextlib.ExitStack() as stack:
    source = inputs.open_source(run, str(tmp_path), 5.0, {}, stack).source
    with pytest.warns(
      feature_gaps.GapWarning, match=r'a: column 2: 1 .up to 4 s'
    ):
      found = source.read('a', 0, 50)
  np.testing.assert_allclose(found[10:12, 1], [41, 45])
  # Not standardised here: what is missing counts as 0.
  assert not found[20:40, 2].any()
