import jax
import numpy as np

from cmsn_jax.features.weights import state_dicts


def test_rules_transpose_kernels_by_their_number_of_axes():
  rng = np.random.default_rng(0)
  state = {
    'a.weight': rng.standard_normal((4, 3, 2)),
    'b.weight': rng.standard_normal((4, 3)).astype(np.float16),
    'b.bias': rng.standard_normal(4),
    'b.steps': np.ones(()),
  }
  template = {
    'a': {'kernel': np.zeros((2, 3, 4))},
    'b': {'kernel': np.zeros((3, 4)), 'bias': np.zeros(4)},
  }
  rules = (
    state_dicts.Rule(r'.*\.steps', None),
    state_dicts.Rule(r'(\w)\.weight', r'\1/kernel'),
    state_dicts.Rule(r'(\w)\.bias', r'\1/bias'),
  )
  tree, ignored = state_dicts.map_parameters(
    state, template, rules, name='made'
  )
  assert ignored == ('b.steps',)
  want = np.einsum('oiw->wio', state['a.weight'])
  np.testing.assert_allclose(tree['a']['kernel'], want, rtol=1e-6)
  np.testing.assert_array_equal(tree['b']['kernel'], state['b.weight'].T)
  assert {x.dtype for x in jax.tree.leaves(tree)} == {np.dtype(np.float32)}
