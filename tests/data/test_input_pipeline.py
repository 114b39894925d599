import numpy as np
import pytest

from cmsn_jax.data import windows

pytestmark = pytest.mark.tf


def _loader():
  def read(window, rng):
    return {
      'inputs': rng.normal(size=(5, 2)).astype(np.float32),
      'labels': np.full(5, window.start, np.int32),
      'mask': np.arange(5) < window.length,
    }

  items = [windows.Window('v', i, 1 + i % 5) for i in range(7)]
  return windows.WindowLoader(read, items, batch_size=3, seed=0)


def test_batches_equal_the_loader_in_order_from_any_step():
  input_pipeline = pytest.importorskip('cmsn_jax.data.input_pipeline')
  loader = _loader()
  for start in (0, 4):
    stream = input_pipeline.batches(loader, start, 9)
    for step, batch in enumerate(stream, start):
      expected = loader.batch(step)
      assert batch.keys() == expected.keys()
      for name, array in expected.items():
        assert batch[name].dtype == array.dtype
        np.testing.assert_array_equal(batch[name], array)
    assert step == 8


def test_no_steps_no_batches():
  input_pipeline = pytest.importorskip('cmsn_jax.data.input_pipeline')
  assert list(input_pipeline.batches(_loader(), 5, 5)) == []
