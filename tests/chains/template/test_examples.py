"""What the template chain learns from: windows placed and stretched at random."""

import dataclasses

import numpy as np
import pytest

from cmsn_jax import segments as segments_lib
from cmsn_jax.chains import protocol, registry
from cmsn_jax.chains.template import derive, joint_phase
from cmsn_jax.data import opening
from cmsn_jax.settings import default, plus, smoke


def _config(**changes):
  config = smoke.apply(plus.apply(default.get_config()), 'smoke')
  config.data.annotations = 'generated:4x60'
  config.windows.update(
    length=96, time_stretch=0.0, noise=0.0, scale=0.0, channel_drop=0.0
  )
  config.update_from_flattened_dict(changes)
  return config


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return opening.open_data(_config(), tmp_path_factory.mktemp('data'))


def _read(data, **changes):
  config = derive.derive(_config(**changes), data)
  job = protocol.Job(
    config, data, registry.predictor(config, {}), 32, None, None
  )
  phase = joint_phase.joint(job)
  return phase.windows, phase.prepare(), config


def test_arrays_have_fixed_shapes_and_types(data):
  windows, read, config = _read(data)
  length = config.windows.length
  example = read(windows[0], np.random.default_rng(0))
  assert {k: (v.shape, v.dtype.name) for k, v in example.items()} == {
    'part': ((length,), 'int32'),
    'proposal_part': ((32,), 'int32'),
    'inputs': ((length, data.source.snippet_shape[0]), 'float32'),
    'mask': ((length,), 'bool'),
    'known': ((length,), 'bool'),
    'labels': ((length,), 'int32'),
    'actions': ((length,), 'int32'),
    'proposals': ((32, 2), 'float32'),
    'tiou': ((32,), 'float32'),
    'offsets': ((32, 2), 'float32'),
    'proposal_labels': ((32, 4), 'float32'),
    'judged': ((32,), 'bool'),
  }


def test_the_same_generator_gives_the_same_example(data):
  windows, read, _ = _read(data, **{'windows.noise': 0.3})
  one, same, other = (
    read(windows[0], np.random.default_rng(seed)) for seed in (1, 1, 2)
  )
  for name in one:
    np.testing.assert_array_equal(one[name], same[name])
  assert np.any(one['inputs'] != other['inputs'])


def test_targets_are_those_of_the_instances_that_are_seen(data):
  windows, read, _ = _read(data)
  inside = (2, 3, 4)
  for seed, window in enumerate(windows[:6]):
    example = read(window, np.random.default_rng(seed))
    labels, mask = example['labels'], example['mask']
    # Instances as the labels tell them: runs of Start, Confirm and End.
    marked = np.isin(labels, inside) & mask
    np.testing.assert_array_equal(example['actions'] > 0, marked)
    assert not labels[~mask].any()
    assert np.all(example['proposals'][:, 1] > example['proposals'][:, 0])
    assert example['tiou'].min() >= 0 and example['tiou'].max() <= 1


def test_offsets_lead_to_the_instance(data):
  windows, read, _ = _read(data)
  checked = 0
  for seed, window in enumerate(windows[:6]):
    example = read(window, np.random.default_rng(seed))
    good = example['tiou'] > 0.5
    proposals = example['proposals'][good].astype(np.float64)
    length = proposals[:, 1:] - proposals[:, :1]
    mended = proposals + example['offsets'][good] * length
    # The mended proposals are instances: each overlaps itself wholly, and two
    # of the same instance are one.
    tiou = segments_lib.tiou(mended, mended)
    assert np.all((tiou > 0.99) | (tiou < 0.6))
    own = segments_lib.paired_tiou(proposals, mended)
    np.testing.assert_allclose(own, example['tiou'][good], atol=1e-3)
    checked += good.sum()
  assert checked > 10


@pytest.mark.parametrize('stretch', [0.0, 0.5])
def test_a_stretched_window_holds_the_features_of_its_time(data, stretch):
  windows, read, config = _read(data, **{'windows.time_stretch': stretch})
  rows = {v: data.source.read(v) for v in data.train}
  for seed in range(8):
    window = windows[seed % len(windows)]
    example = read(window, np.random.default_rng(seed))
    valid = example['inputs'][example['mask']]
    whole = rows[window.video_id]
    # Resampled rows lie between rows of the video.
    assert valid.min() >= whole.min() - 1e-4
    assert valid.max() <= whole.max() + 1e-4
    assert not example['inputs'][~example['mask']].any()


def test_labels_of_other_videos_have_their_own_numbers(data):
  windows, read, config = _read(data)
  names = derive.actions(data)
  assert config.template.num_actions == len(names)
  seen = set()
  for seed, window in enumerate(windows):
    seen |= set(read(window, np.random.default_rng(seed))['actions'].tolist())
  assert seen <= set(range(len(names) + 1)) and len(seen) > 1


def _ignoring(data, *spans):
  """The data, of whose first video these spans are ignored."""
  name = min(data.train)
  video = dataclasses.replace(data.train[name], ignore=np.array(spans))
  return name, dataclasses.replace(data, train={**data.train, name: video})


def test_nothing_is_learned_where_nobody_looked(data):
  name, partly = _ignoring(data, (20.0, 999.0))
  windows, read, _ = _read(partly)
  fps = data.source.feature_fps
  whole = {v: data.source.read(v) for v in data.train}
  seen = 0
  for seed, window in enumerate(w for w in windows if w.video_id == name):
    example = read(window, np.random.default_rng(seed))
    inputs = example['inputs'][example['mask']]
    # Without stretching, the window's first row tells its place.
    place = np.abs(whole[name] - inputs[0]).sum(axis=1).argmin()
    times = (place + np.arange(len(inputs)) + 0.5) / fps
    known = example['known'][example['mask']]
    inside = times >= 20
    # But for instances that reach across the border, and half a snippet.
    clear = np.abs(times - 20) > 2 / fps
    marked = np.isin(example['labels'][example['mask']], (2, 3, 4))
    assert np.all(known[clear & ~marked] == ~inside[clear & ~marked])
    middles = example['proposals'].mean(axis=1) / fps + place / fps
    length = np.ptp(example['proposals'], axis=1) / fps
    far = np.abs(middles - 20) > length / 2 + 5
    np.testing.assert_array_equal(example['judged'][far], middles[far] < 20)
    seen += far.sum()
  assert seen > 20
  # Windows that lie wholly in there are left out.
  assert len(windows) <= len(_read(data)[0])
  plain = _read(data)[1](windows[0], np.random.default_rng(0))
  assert plain['judged'].all()
  np.testing.assert_array_equal(plain['known'], plain['mask'])
