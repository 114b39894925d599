"""Features that stay: of which video they are, and where one was stopped."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from cmsn_jax.features import (
  extracting_store,
  extractor,
  kept_rows,
  video_features,
)
from cmsn_jax.video import identities
from tests.video import made_videos


def _mean_of_context(params, frames, valid):
  """Every snippet sees four frames more on each side."""
  del params
  levels = frames.astype('float32').mean((2, 3)) * valid[..., None]
  padded = jnp.pad(levels, ((0, 0), (4, 4), (0, 0)))
  count = frames.shape[1] // 4
  return sum(padded[:, k : k + 4 * count : 4] for k in range(12))


def _features(chunk=4):
  return video_features.VideoFeatures(
    extractor.Extractor(
      name='context', modality='rgb', apply=_mean_of_context, params={},
      dim=3, fps=25.0, stride=4, resize=(24, 32), halo_frames=4,
      chunk_snippets=chunk,
    ),
    config={'extractor': 'test'},
  )  # fmt: skip


@pytest.fixture(scope='module')
def video(tmp_path_factory):
  path = tmp_path_factory.mktemp('video') / 'long.mp4'
  return made_videos.make(path, num_frames=203, options={'g': '20'}, noise=9)


@pytest.mark.parametrize('stop_after', [1, 3, 6, 9])
def test_a_stopped_video_goes_on_where_it_was(video, tmp_path, stop_after):
  features = _features()
  whole = features.extract(video)
  assert len(whole) == 51
  count = 0

  def stop(frames):
    nonlocal count
    count += frames
    if count > 20 * stop_after:
      raise KeyboardInterrupt

  kept = kept_rows.KeptRows(tmp_path / 'f', features)
  with pytest.raises(KeyboardInterrupt):
    kept.extract('long', video, on_frames=stop)
  assert not kept.is_done('long', video)
  # A kill may leave half a row.
  part = tmp_path / 'f' / 'long.rows.part'
  part.write_bytes(part.read_bytes() + b'half')
  seen = []
  again = kept_rows.KeptRows(tmp_path / 'f', features)
  rows = again.extract('long', video, on_frames=seen.append)
  assert np.array_equal(rows, whole)
  assert np.array_equal(np.load(tmp_path / 'f' / 'long.npy'), whole)
  assert sum(seen) == 203  # what was done before counts for progress
  assert again.is_done('long', video) and not part.exists()


def test_only_what_is_missing_is_decoded_again(video):
  features = _features()
  whole = features.extract(video)
  rows = features.resumable(40)
  assert 25 < rows <= 40
  clock = video_features.Clock()
  rest = list(features.pieces(video, start_row=rows, clock=clock))
  assert np.array_equal(np.concatenate(rest), whole[rows:])
  assert clock.frames < 203 - 4 * (rows - 2)
  assert features.resumable(3) == 0


def test_rows_of_another_video_are_not_gone_on_with(video, tmp_path):
  kept = kept_rows.KeptRows(tmp_path / 'f', _features())
  part = tmp_path / 'f' / 'long.rows.part'
  head = {'content': 'other', 'features': 'x', 'allow_damage': False}
  part.write_bytes(json.dumps(head).encode() + b'\n' + bytes(12 * 40))
  rows = kept.extract('long', video)
  assert np.array_equal(rows, _features().extract(video))


def test_another_camera_s_file_of_the_same_name(video, tmp_path):
  folders = [tmp_path / 'day1', tmp_path / 'day2']
  for folder, frames in zip(folders, (30, 40), strict=True):
    folder.mkdir()
    made_videos.make(folder / 'GX010001.MP4', num_frames=frames)
  first, second = (folder / 'GX010001.MP4' for folder in folders)
  kept = kept_rows.KeptRows(tmp_path / 'f', _features())
  kept.extract('GX010001', first)
  again = kept_rows.KeptRows(tmp_path / 'f', _features())
  assert again.is_done('GX010001', first)
  with pytest.raises(ValueError, match='another video.*day1.*--ids=path'):
    again.is_done('GX010001', second)
  # A copy elsewhere is the same video.
  copied = shutil.copy(first, tmp_path / 'GX010001.MP4')
  assert again.is_done('GX010001', copied)
  # The same place, other contents: the video was replaced.
  shutil.copy(second, first)
  assert not again.is_done('GX010001', first)
  # Features of before this was kept are taken as they are.
  (tmp_path / 'f' / 'sources.jsonl').unlink()
  old = kept_rows.KeptRows(tmp_path / 'f', _features())
  assert old.is_done('GX010001', second)


def test_identity_sees_the_middle_of_a_large_file(tmp_path):
  data = bytearray(np.random.default_rng(0).bytes(2**22))
  path = tmp_path / 'a.mp4'
  path.write_bytes(data)
  before = identities.of(path)
  data[len(data) // 15 * 7 : len(data) // 15 * 7 + 2**18] = bytes(2**18)
  path.write_bytes(data)
  assert identities.of(path).content != before.content
  assert identities.of(path).path == before.path


def test_a_full_disk_names_file_and_disk(video, tmp_path, monkeypatch):
  kept = kept_rows.KeptRows(tmp_path / 'f', _features())

  def full(file, rows):
    raise OSError(f'{rows.size} requested and 0 written')

  monkeypatch.setattr(np, 'save', full)
  with pytest.raises(OSError, match=r'free on the disk at /.*long\.npy'):
    kept.extract('long', video)


def test_extracted_when_asked_for_kept_and_followed_by_the_second(
  video, tmp_path
):
  paths, features = {'long': video}, _features()
  store = extracting_store.ExtractingStore(
    features, paths, folder=tmp_path / 'f'
  )
  seconds = []
  store.on_seconds = lambda video_id, second: seconds.append(second)
  assert store.num_snippets('long') == 51
  assert seconds == sorted(seconds) and len(seconds) > 1
  assert seconds[-1] == pytest.approx(203 / 25)
  again = extracting_store.ExtractingStore(
    features, paths, folder=tmp_path / 'f'
  )
  again.on_seconds = lambda video_id, second: pytest.fail('decoded again')
  assert np.array_equal(again.read('long', 3, 9), store.read('long', 3, 9))
