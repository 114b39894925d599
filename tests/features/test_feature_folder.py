"""A folder of videos → a folder of features, with everything that can fail."""

import json

import numpy as np
import pytest

from cmsn_jax.features import (
  extracting,
  extractor,
  feature_folder,
  kept_rows,
  video_features,
)
from cmsn_jax.files import feature_files
from cmsn_jax.video import finding
from tests.video import made_videos


def _features(name='mean', weights='none'):
  return video_features.VideoFeatures(
    extractor.Extractor(
      name=name,
      modality='rgb',
      apply=lambda params, frames, valid: frames.astype('float32').mean((2, 3))[
        :, ::5
      ],
      params={},
      dim=3,
      fps=25.0,
      stride=5,
      resize=(24, 32),
      weights=weights,
    ),
    config={'extractor': 'test'},
  )


@pytest.fixture
def videos(tmp_path):
  folder = tmp_path / 'videos'
  folder.mkdir()
  made_videos.make(folder / 'a.mp4', num_frames=20)
  made_videos.make(folder / 'b.mp4', num_frames=31)
  (folder / 'broken.mp4').write_text('no video')
  (folder / 'notes.txt').write_text('not looked at')
  return folder


def _run(videos, output, **kwargs):
  return feature_folder.extract(
    _features(**kwargs), finding.find(str(videos)).videos, output, quiet=True
  )


def test_folder_is_resumed_and_failures_are_kept_apart(videos, tmp_path):
  output = tmp_path / 'features'
  result = _run(videos, output)
  assert result.done == ['a', 'b']
  assert list(result.failures) == ['broken']
  assert 'broken.mp4' in result.failures['broken']
  assert result.video_sec == pytest.approx(51 / 25)
  store = feature_files.open_features(output)
  assert store.ids == ('a', 'b')
  assert (store.dim, store.feature_fps) == (3, 5.0)
  assert store.num_snippets('b') == 7
  assert store.sidecar['weights'] == 'none'
  assert store.sidecar['config'] == {'extractor': 'test'}
  assert sorted(path.name for path in output.iterdir()) == [
    'a.npy', 'b.npy', 'features.json', 'sources.jsonl',
  ]  # fmt: skip

  (output / 'a.npy').unlink()
  before = (output / 'b.npy').stat().st_mtime_ns
  again = _run(videos, output)
  assert (again.done, again.skipped) == (['a'], ['b'])
  assert (output / 'b.npy').stat().st_mtime_ns == before
  text = feature_folder.summary(result, _features())
  assert '2 videos extracted, 0 were done before, 1 failed' in text
  assert 'times real time' in text


def test_parts_are_disjoint_and_together_all(videos, tmp_path):
  made_videos.make(videos / 'c.mp4', num_frames=12)
  output = tmp_path / 'features'
  found = finding.find(str(videos)).videos
  extract = lambda i: feature_folder.extract(
    _features(), found, output, shard=(i, 2), quiet=True
  )
  # b is the longest; a and c go to the other part, which then has more, so
  # that the unreadable one, of no length, joins b.
  first = extract(0)
  assert (first.done, list(first.failures)) == (['b'], ['broken'])
  # What is done already does not move the others to another part.
  second = extract(1)
  assert (second.done, second.failures) == (['a', 'c'], {})
  again = extract(0)
  assert (again.done, again.skipped) == ([], ['b'])
  assert feature_files.open_features(output).ids == ('a', 'b', 'c')


def test_features_of_two_kinds_never_mix(videos, tmp_path):
  output = tmp_path / 'features'
  _run(videos, output)
  with pytest.raises(ValueError, match="weights was 'none', is now 'other'"):
    _run(videos, output, weights='other')
  (output / 'features.json').unlink()
  with pytest.raises(ValueError, match='no features.json'):
    _run(videos, output)


def test_a_stopped_write_leaves_nothing(videos, tmp_path, monkeypatch):
  output = tmp_path / 'features'

  def stop(file, rows):
    file.write(b'half')
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(np, 'save', stop)
    with pytest.raises(KeyboardInterrupt):
      _run(videos, output)
  assert [path.name for path in output.iterdir()] == ['features.json']
  assert _run(videos, output).done == ['a', 'b']


def test_record_is_json(tmp_path):
  kept_rows.claim(tmp_path / 'new', _features().record)
  record = json.loads((tmp_path / 'new' / 'features.json').read_text())
  assert record['stride'] == 5 and record['fps'] == 25.0


def test_a_long_video_is_gone_on_with(videos, tmp_path, monkeypatch):
  monkeypatch.setattr(extracting, '_LONG_SEC', 1.0)
  made_videos.make(videos / 'long.mp4', num_frames=250)
  output = tmp_path / 'features'
  kept = kept_rows.KeptRows(output, _features())

  def stop(count):
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    kept.extract('a', videos / 'a.mp4', on_frames=stop)
  assert kept.is_begun('a')
  result = _run(videos, output)
  assert sorted(result.done) == ['a', 'b', 'long']
  assert result.video_sec == pytest.approx(301 / 25)
  assert len(np.load(output / 'long.npy')) == 50
