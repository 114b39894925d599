"""Generated feature sequences: repeatable, consistent, not trivial."""

import filecmp

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.data.synthetic import features as synthetic_features
from cmsn_jax.data.synthetic import script


def test_same_seed_same_bytes(tmp_path):
  paths = [
    synthetic_features.generate(
      tmp_path / name, num_videos=4, duration_sec=40.0, seed=seed
    )
    for name, seed in (('a', 3), ('b', 3), ('c', 4))
  ]
  files = sorted(p.name for p in (tmp_path / 'a' / 'features').iterdir())
  assert files == [f'video_{i:03d}.npy' for i in range(4)]
  for file in files:
    one, same, other = (p.parent / 'features' / file for p in paths)
    assert filecmp.cmp(one, same, shallow=False)
    assert not filecmp.cmp(one, other, shallow=False)
  assert filecmp.cmp(paths[0], paths[1], shallow=False)


def test_files_agree_with_the_annotations(tmp_path):
  path = synthetic_features.generate(
    tmp_path, num_videos=10, duration_sec=90.0, feature_fps=4.0, dim=7
  )
  truth = activitynet.read(path)
  assert [len(truth.subset(s)) for s in activitynet.SUBSETS] == [6, 2, 2]
  assert truth.labels == tuple(sorted(script.LABELS))
  lengths = set()
  for video_id, video in truth.videos.items():
    features = np.load(tmp_path / 'features' / f'{video_id}.npy')
    assert features.dtype == np.float32
    assert features.shape == (round(video.duration_sec * 4.0), 7)
    assert np.isfinite(features).all()
    assert video.feature_fps == 4.0
    assert len(video.segments) >= 3
    assert (video.segments[1:, 0] >= video.segments[:-1, 1]).all()
    lengths.add(len(features))
  assert len(lengths) > 5


def test_hidden_stages_of_one_action():
  event = script.Event('shake', 4.0, 8.0, 2.0, 2.0, 1.0)
  times = np.arange(0.05, 12, 0.1)
  hidden = synthetic_features.hidden([event], times, np.random.default_rng(0))
  inside = (times >= 4) & (times < 8)
  around = (times >= 2) & (times < 10)
  assert (hidden[~around] == 0).all()
  # Nearness rises, stays and falls; motion is inside only.
  near = hidden[:, 0]
  assert np.all(np.diff(near[(times >= 2) & (times < 4)]) > 0)
  assert np.allclose(near[inside], near[inside][0])
  assert np.all(np.diff(near[(times >= 8) & (times < 10)]) < 0)
  assert (hidden[~inside][:, 3:] == 0).all()
  assert (np.abs(hidden[inside][:, 5:7]).sum(axis=1) > 0).all()
  # Coming and leaving tell the approach from the withdrawal.
  assert hidden[(times < 4), 1].max() > 0.5 > hidden[(times < 4), 2].max()
  assert hidden[(times > 8), 2].max() > 0.5 > hidden[(times > 8), 1].max()


def test_a_distractor_has_no_oscillation():
  event = script.Event('pause', 4.0, 8.0, 2.0, 2.0, 1.0)
  times = np.arange(0.05, 12, 0.1)
  hidden = synthetic_features.hidden([event], times, np.random.default_rng(0))
  assert not event.is_action
  assert hidden[:, 0].max() > 0.5
  assert (hidden[:, 3:] == 0).all()


def test_drifting_noise_has_unit_variance_and_memory():
  rng = np.random.default_rng(0)
  noise = synthetic_features.drifting_noise((20000, 2), rng, memory=0.8)
  assert np.allclose(noise.std(axis=0), 1, atol=0.06)
  correlation = np.corrcoef(noise[1:, 0], noise[:-1, 0])[0, 1]
  assert correlation == pytest.approx(0.8, abs=0.03)


def test_script_keeps_order_and_length():
  for seed in range(20):
    events = script.write(80.0, np.random.default_rng(seed))
    for one, following in zip(events, events[1:]):
      assert following.start_sec >= one.end_sec
    assert events[-1].end_sec + events[-1].withdraw_sec <= 80.0
    assert events[0].start_sec >= events[0].approach_sec


def test_subsets():
  assert script.subsets(3) == ['training', 'validation', 'testing']
  names = script.subsets(30)
  assert [names.count(s) for s in activitynet.SUBSETS] == [18, 6, 6]


@pytest.mark.parametrize(
  'arguments, message',
  [
    ({'num_videos': 2}, 'num_videos must be at least 3'),
    ({'duration_sec': 5.0}, 'duration_sec must be at least 20'),
    ({'duration_sec': float('nan')}, 'duration_sec must be at least 20'),
  ],
)
def test_bad_arguments(tmp_path, arguments, message):
  with pytest.raises(ValueError, match=message):
    synthetic_features.generate(tmp_path, **arguments)
