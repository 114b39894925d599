import numpy as np
import pytest

tfds = pytest.importorskip('tensorflow_datasets')
pytestmark = pytest.mark.tf


class TinyMotions(tfds.core.GeneratorBasedBuilder):
  """Three training and two test videos of two classes, frames numbered."""

  VERSION = tfds.core.Version('1.0.0')
  HELD_OUT = 'test'

  def _info(self):
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict({
        'video': tfds.features.Video(shape=(None, 16, 24, 3)),
        'label': tfds.features.ClassLabel(names=['run', 'jump']),
      })
    )  # fmt: skip

  def _split_generators(self, unused_manager):
    return {'train': self._made(3), self.HELD_OUT: self._made(2)}

  def _generate_examples(self, unused_path):
    raise AssertionError('the splits are generators themselves')

  def _made(self, count):
    for i in range(count):
      numbers = np.arange(6 + i, dtype=np.uint8) * 10
      shape = (6 + i, 16, 24, 3)
      video = np.broadcast_to(numbers[:, None, None, None], shape)
      yield i, {'video': video.copy(), 'label': i % 2}


@pytest.mark.filterwarnings('ignore')
def test_a_data_set_by_name(tmp_path):
  from cmsn_jax.data.builders import clips as tfds_clips
  from cmsn_jax.pretraining import clips

  train, held_out = tfds_clips.open_dataset(
    'tiny_motions', size=(8, 12), data_dir=str(tmp_path)
  )
  assert isinstance(train, clips.ClipSource)
  assert train.classes == ('run', 'jump')
  assert (len(train), len(held_out)) == (3, 2)
  lengths = sorted((train.num_frames(i), train.label(i)) for i in range(3))
  assert lengths == [(6, 0), (7, 1), (8, 0)]
  got = train.read(0, 2, 5)
  assert got.shape == (3, 8, 12, 3) and got.dtype == np.uint8
  assert got.mean(axis=(1, 2, 3)).tolist() == [20, 30, 40]
  assert train.read(0, 50, 60).shape == (0, 8, 12, 3)
  clip = clips.validation_clips(held_out, 1, clips=2, frames=4, crop=(8, 8))
  assert clip.shape == (2, 4, 8, 8, 3)


@pytest.mark.filterwarnings('ignore')
def test_unknown_names_are_named():
  from cmsn_jax.data.builders import clips as tfds_clips

  with pytest.raises(ValueError, match="no data set 'ucf110'; there is ucf101"):
    tfds_clips.open_dataset('ucf110/ucf101_1', size=(8, 12))
