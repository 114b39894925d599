"""The streaming suite's row, and that its three runs do the same work."""

import time

import numpy as np
import pytest

from cmsn_jax.data import frame_source
from cmsn_jax.video import reader as video_reader
from launch.benchmarks import decode, streaming


def test_ratio_is_to_the_slower_alone():
  naps = {'decoding': 0.02, 'network': 0.05, 'both': 0.1}
  runs = [lambda s=seconds: time.sleep(s) for seconds in naps.values()]
  row = streaming.measure(*runs, 4.0, 3)
  assert row['ours_s'] >= 0.1 and row['alternative_s'] >= 0.05
  assert 0.05 <= row['alternative_s'] < row['ours_s']
  assert row['ratio'] == pytest.approx(
    row['ours_s'] / row['alternative_s'], rel=0.5
  )


def test_held_frames_are_the_decoded_ones(tmp_path):
  path = tmp_path / 'made.mp4'
  decode.render(path, 100)
  with video_reader.VideoReader() as reader:

    def source():
      return frame_source.DecodingSource(
        {'made': path}, reader, fps=30.0, size=(36, 48), stride=8, crop=(32, 40)
      )

    held, fresh = streaming.HeldSource(source()), source()
    assert held.num_snippets('made') == fresh.num_snippets('made') == 13
    for start, stop in ((0, 8), (4, 12), (8, 13)):
      np.testing.assert_array_equal(
        held.read('made', start, stop), fresh.read('made', start, stop)
      )


@pytest.mark.slow
def test_quick_suite():
  (row,) = streaming.run_streaming(quick=True)
  assert row['suite'] == 'streaming' and row['ratio'] > 0
