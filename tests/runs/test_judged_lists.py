"""Lists of held-out videos, kept with the parameters that they are of."""

import numpy as np

from cmsn_jax.files import proposal_files
from cmsn_jax.runs import judged_lists


def _judged(count):
  segments = np.stack([np.arange(count), np.arange(count) + 0.5], 1) * 1.0
  return judged_lists.Judged(
    proposal_files.Proposals(segments, np.linspace(1, 0, count)),
    np.array([[0.1, 0.4]]),
    60.0,
  )


def test_what_was_written_is_read(tmp_path):
  videos = {'a': _judged(3), 'b': _judged(0)}
  judged_lists.write(tmp_path, 7, 'held-out', videos)
  kind, found = judged_lists.read(tmp_path, 7)
  assert kind == 'held-out' and list(found) == ['a', 'b']
  np.testing.assert_array_equal(
    found['a'].proposals.segments, videos['a'].proposals.segments
  )
  np.testing.assert_array_equal(
    found['a'].proposals.scores, videos['a'].proposals.scores
  )
  assert found['a'].instances.tolist() == [[0.1, 0.4]]
  assert found['b'].proposals.segments.shape == (0, 2)
  assert found['b'].duration_sec == 60.0


def test_lists_of_another_step_or_cut_short_are_none(tmp_path, caplog):
  assert judged_lists.read(tmp_path, 7) is None
  judged_lists.write(tmp_path, 7, 'held-out', {'a': _judged(1)})
  assert judged_lists.read(tmp_path, 8) is None
  (tmp_path / 'held_out.json').write_text('{"step": 7, "vid')
  assert judged_lists.read(tmp_path, 7) is None
