"""Phase 1: what it learns from, what stays, what its loss is."""

import dataclasses

import jax
import numpy as np
import pytest

from cmsn_jax.chains import protocol, registry
from cmsn_jax.chains.paper import stages_phase
from cmsn_jax.data import opening, training_data
from cmsn_jax.settings import default, smoke
from cmsn_jax.stages import cosine_margin


def _config(**changes):
  config = smoke.apply(default.get_config(), 'smoke')
  config.data.annotations = 'generated:4x40'
  config.windows.length = 32
  config.update_from_flattened_dict(changes)
  return config


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return opening.open_data(_config(), tmp_path_factory.mktemp('data'))


def _phase(data, **changes):
  config = _config(**changes)
  return stages_phase.stages(
    protocol.Job(
      config, data, registry.predictor(config, {}), 8, None, lambda name: {}
    )
  )


def test_a_plan_counts_epochs(data):
  phase = _phase(
    data, **{'train.stages_epochs': 5, 'train.eval_every_epochs': 2}
  )
  assert phase.plan(7) == protocol.Plan(steps=35, eval_every=14)
  assert phase.salt == 1 and phase.name == 'stages'


def test_an_example_is_a_window_of_the_video_and_its_labels(data):
  phase = _phase(data)
  read = phase.prepare()
  for window in phase.windows[:5]:
    example = read(window, np.random.default_rng(0))
    stop = window.start + window.length
    np.testing.assert_array_equal(
      example['inputs'][: window.length],
      data.source.read(window.video_id, window.start, stop),
    )
    labels = training_data.stage_labels(
      data.train[window.video_id], data.source, 'centre'
    )
    np.testing.assert_array_equal(
      example['labels'][: window.length], labels[window.start : stop]
    )
    assert example['mask'].sum() == window.length
    assert not example['labels'][window.length :].any()


def test_jitter_moves_windows_but_never_out_of_the_video(data):
  phase = _phase(data, **{'windows.jitter': 1.0})
  read = phase.prepare()
  window = phase.windows[0]
  total = data.source.num_snippets(window.video_id)
  rows = data.source.read(window.video_id, 0, total)
  starts = set()
  for seed in range(20):
    example = read(window, np.random.default_rng(seed))
    inputs = example['inputs'][: window.length]
    (start,) = [
      k
      for k in range(total - window.length + 1)
      if np.array_equal(rows[k : k + window.length], inputs)
    ]
    starts.add(start)
  assert len(starts) > 3 and max(starts) <= total - window.length


def test_the_loss_is_the_one_that_the_config_names(data):
  phase = _phase(data, **{'stages.loss': 'vmcl', 'stages.dropout': 0.0})
  config = _config(**{'stages.loss': 'vmcl', 'stages.dropout': 0.0})
  networks = registry.predictor(config, {}).networks
  params = phase.init(jax.random.key(0))
  read = phase.prepare()
  rng = np.random.default_rng(0)
  examples = [read(window, rng) for window in phase.windows[:3]]
  batch = {
    name: jax.numpy.stack([e[name] for e in examples]) for name in examples[0]
  }
  loss, (weight, metrics) = phase.loss_fn(params, batch, jax.random.key(1))
  outputs = networks.stages.apply(
    {'params': params}, batch['inputs'], batch['mask']
  )
  expected = cosine_margin.vmcl_loss(
    outputs.scores, batch['labels'], batch['mask'],
    margins=cosine_margin.margin_matrix(), scale=30.0,
  )  # fmt: skip
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  assert weight == batch['mask'].sum()
  assert 0 <= metrics['accuracy'] <= 1


@pytest.mark.parametrize(
  ('layers', 'expected'),
  [(0, ()), (2, ('conv1a', 'conv2a')), (3, ('conv1a', 'conv2a', 'conv3a'))],
)
def test_the_first_layers_of_the_extractor_stay(data, layers, expected):
  config = _config(**{'data.input': 'video', 'extractor.frozen_layers': layers})
  found = stages_phase._frozen_layers(config)
  assert found == tuple(f'^extractor/{name}/' for name in expected)
  assert stages_phase._frozen_layers(_config()) == ()


def test_first_parameters_are_a_function_of_the_key(data):
  phase = _phase(data)
  one, same, other = (phase.init(jax.random.key(seed)) for seed in (0, 0, 1))
  for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(same)):
    np.testing.assert_array_equal(x, y)
  assert any(
    np.any(x != y) for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other))
  )


def test_labels_of_snippets_are_a_second_target_if_asked_for(data):
  derived = registry.load('paper').derive(
    _config(**{'stages.action_weight': 0.5}), data
  )
  names = derived.stages.label_names
  assert names == tuple(training_data.label_names(data)) and len(names) > 1
  assert registry.load('paper').derive(_config(), data).stages.label_names == ()
  phase = stages_phase.stages(
    protocol.Job(
      derived, data, registry.predictor(derived, {}), 8, None, lambda name: {}
    )
  )
  read = phase.prepare()
  batch = [read(w, np.random.default_rng(0)) for w in phase.windows[:3]]
  batch = {k: jax.numpy.stack([x[k] for x in batch]) for k in batch[0]}
  inside = np.isin(batch['labels'], (2, 3, 4)) & batch['mask']
  np.testing.assert_array_equal(batch['actions'] > 0, inside)
  params = phase.init(jax.random.key(0))
  with_labels, _ = phase.loss_fn(params, batch, jax.random.key(1))
  # The same parameters without the head, as the paper has it.
  plain = {k: v for k, v in params['network'].items() if k != 'actions'}
  without, _ = _phase(data).loss_fn(
    {**params, 'network': plain}, batch, jax.random.key(1)
  )
  assert with_labels > without + 0.1


def test_nothing_is_learned_where_nobody_looked(data):
  name = min(data.train)
  video = dataclasses.replace(
    data.train[name], ignore=np.array([[10.0, data.train[name].duration_sec]])
  )
  partly = dataclasses.replace(data, train={**data.train, name: video})
  phase = _phase(partly)
  whole = _phase(data)
  # Windows that lie wholly in there are left out.
  assert 0 < len(phase.windows) < len(whole.windows)
  params = phase.init(jax.random.key(0))
  unknown = partly.unknown_snippets(name)
  read = phase.prepare()
  window = next(w for w in phase.windows if w.video_id == name)
  example = read(window, np.random.default_rng(0))
  own = slice(window.start, window.start + window.length)
  np.testing.assert_array_equal(
    example['known'][: window.length], ~unknown[own]
  )
  assert example['mask'].sum() == window.length > example['known'].sum()
  batch = {k: jax.numpy.asarray(v[None]) for k, v in example.items()}
  other = batch | {
    'labels': jax.numpy.where(
      batch['known'], batch['labels'], 5 - batch['labels']
    )
  }
  losses = [phase.loss_fn(params, b, jax.random.key(1)) for b in (batch, other)]
  assert losses[0][0] == losses[1][0]
  assert losses[0][1][0] == example['known'].sum()
