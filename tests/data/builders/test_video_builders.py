"""TFDS builders of videos: frames by window, examples by video."""

import json

import numpy as np
import pytest

pytestmark = [
  pytest.mark.tf,
  pytest.mark.filterwarnings('ignore::DeprecationWarning'),
  pytest.mark.filterwarnings('ignore::ResourceWarning'),
]
tfds = pytest.importorskip('tensorflow_datasets')

from cmsn_jax.data.builders import thumos14, video_folder  # noqa: E402
from cmsn_jax.video import decoding, frame_store  # noqa: E402
from tests.video import made_videos  # noqa: E402

FRAMES = frame_store.Format(fps=10, size=(16, 24), encoding='raw')


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
  folder = tmp_path_factory.mktemp('videos')
  for name, n in (('a', 50), ('b', 75), ('c', 40)):
    made_videos.make(folder / f'{name}.mp4', num_frames=n)
  return folder


def write_annotations(path, subsets):
  database = {
    video_id: {
      'subset': subset,
      'duration': 1.6,
      'annotations': [
        {'segment': [0.5, 1.25], 'label': 'jump'},
        {'segment': [1.3, 1.5], 'label': 'run'},
      ],
    }
    for video_id, subset in subsets.items()
  }
  database['a']['annotations'] = []
  path.write_text(json.dumps({'database': database}))
  return str(path)


def folder_builder(tmp_path, videos, subsets, **kwargs):
  config = video_folder.Config(
    name='mine',
    videos=str(videos),
    annotations=write_annotations(tmp_path / 'a.json', subsets),
    frames=FRAMES,
    num_workers=1,
    **kwargs,
  )
  return tfds.builder(
    'video_folder', config=config, data_dir=str(tmp_path / 'data')
  )


def test_video_folder(tmp_path, videos):
  builder = folder_builder(
    tmp_path, videos, {'a': 'training', 'b': 'training', 'c': 'testing'}
  )
  builder.download_and_prepare()
  assert set(builder.info.splits) == {'training', 'testing'}
  examples = {
    example['video_id'].decode(): example
    for split in builder.info.splits
    for example in tfds.as_numpy(builder.as_dataset(split=split))
  }
  assert set(examples) == {'a', 'b', 'c'}
  assert examples['a']['segments'].shape == (0, 2)
  # TFDS's files keep float32.
  np.testing.assert_allclose(
    examples['b']['segments'], [[0.5, 1.25], [1.3, 1.5]], rtol=1e-7
  )
  assert list(examples['b']['labels']) == [b'jump', b'run']
  assert [int(examples[i]['num_frames']) for i in 'abc'] == [20, 30, 16]
  store = builder.frame_store()
  assert store.ids == ('a', 'b', 'c')
  expected = decoding.read(videos / 'b.mp4', fps=10, size=(16, 24))
  assert np.array_equal(store.read('b', 5, 25), expected[5:25])


def test_missing_videos(tmp_path, videos):
  subsets = {'a': 'training', 'b': 'training', 'gone': 'testing'}
  builder = folder_builder(tmp_path, videos, subsets)
  with pytest.raises(ValueError, match='1 of 3 videos are missing: gone'):
    builder.download_and_prepare()
  # What was decoded stays, so that the next call only adds to it.
  assert builder.frame_store().ids == ('a', 'b')
  builder = folder_builder(tmp_path, videos, subsets, allow_missing=True)
  builder.download_and_prepare()
  assert set(builder.info.splits) == {'training'}


def test_no_paths(tmp_path):
  builder = tfds.builder('video_folder', data_dir=str(tmp_path))
  with pytest.raises(ValueError, match='needs its paths'):
    builder.download_and_prepare()


def test_thumos14(tmp_path):
  manual = tmp_path / 'manual'
  for folder in ('validation', 'test', 'annotations'):
    (manual / folder).mkdir(parents=True)
  for file in (
    'validation/video_validation_0000051.mp4',
    'test/video_test_0000004.mp4',
    'test/video_test_0000005.mp4',  # has no annotations
  ):
    made_videos.make(manual / file, num_frames=60, rate=30)
  (manual / 'annotations' / 'Diving_val.txt').write_text(
    'video_validation_0000051  0.5 1.2\n'
  )
  (manual / 'annotations' / 'Diving_test.txt').write_text(
    'video_test_0000004  0.1 0.9\nvideo_test_0000004  1.1 1.8\n'
  )
  builder = tfds.builder('thumos14', data_dir=str(tmp_path / 'data'))
  assert isinstance(builder, thumos14.Thumos14)
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=str(manual))
  )
  (example,) = tfds.as_numpy(builder.as_dataset(split='testing'))
  assert example['video_id'] == b'video_test_0000004'
  np.testing.assert_allclose(
    example['segments'], [[0.1, 0.9], [1.1, 1.8]], rtol=1e-7
  )
  assert int(example['num_frames']) == 50
  store = builder.frame_store()
  assert store.ids == ('video_test_0000004', 'video_validation_0000051')
  assert store.read('video_test_0000004', 48, 50).shape == (2, 128, 171, 3)
