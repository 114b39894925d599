"""ONNX exports give the run's proposals without JAX."""

import logging
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cmsn_jax.features import i3d, video_features
from cmsn_jax.proposing import (
  exported,
  exporting,
  inputs,
  onnx_programs,
  onnx_runtime,
)
from cmsn_jax.settings import features as features_settings
from tests.proposing import test_exporting

pytest.importorskip('jax2onnx', reason='the extra onnx is not installed')

_MODELS = ('runs', 'template')
_BLOCKED = (
  'cmsn_jax', 'jax', 'jaxlib', 'jaxtyping', 'flax', 'optax', 'orbax', 'absl',
  'ml_collections', 'tqdm', 'tensorflow', 'torch', 'onnx', 'jax2onnx',
)  # fmt: skip
_CODE = """
import sys
for name in {blocked!r}:
  sys.modules[name] = None  # As if it were not installed.
import numpy as np
sys.path.insert(0, {model!r})
import cmsn_loader
loaded, found = cmsn_loader.load({model!r}), {{}}
for name, features in np.load('videos.npz').items():
  one = loaded.predict(features)
  found[name + '/segments'] = one.proposals.segments
  found[name + '/scores'] = one.proposals.scores
  found[name + '/stages'] = one.probabilities
  found[name + '/encoded'] = np.asarray(loaded.encode(features)[0])
np.savez({model!r} + '.npz', **found)
"""


@pytest.fixture(scope='module')
def trained():
  return {name: test_exporting._MODELS[name]() for name in _MODELS}


@pytest.fixture(scope='module')
def folder(tmp_path_factory, trained):
  folder = tmp_path_factory.mktemp('onnx')
  for name, one in trained.items():
    exporting.write(one, folder / name, 'onnx')
  return folder


@pytest.mark.parametrize('name', _MODELS)
def test_the_loader_proposes_what_the_run_proposes_without_jax(
  name, folder, trained
):
  rng = np.random.default_rng(0)
  width = test_exporting._WIDTH
  videos = {
    key: rng.normal(0, 2, (length, width)).astype(np.float32)
    for key, length in {'short': 3, 'window': 64, 'long': 301}.items()
  }
  np.savez(folder / 'videos.npz', **videos)
  code = _CODE.format(blocked=_BLOCKED, model=name)
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=folder, capture_output=True, text=True,
    timeout=600,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-3000:]
  assert not done.stderr, done.stderr
  total = 0
  with np.load(folder / f'{name}.npz') as found:
    for video, rows in videos.items():
      source = inputs.feature_source(
        trained[name], test_exporting._Store(video, rows)
      )
      ((_, expected),) = trained[name].predictor.propose(source, [video])
      np.testing.assert_allclose(
        found[f'{video}/stages'], expected.probabilities, atol=1e-4
      )
      np.testing.assert_allclose(
        found[f'{video}/scores'], expected.proposals.scores, atol=1e-4
      )
      test_exporting._assert_same_segments(found, video, expected.proposals)
      total += len(expected.proposals.scores)
  assert total > 5


@pytest.mark.parametrize('name', _MODELS)
def test_programs_agree_over_lengths_and_batches(name, folder, trained):
  functions, _ = exporting.programs(trained[name])
  for key, one in functions.items():
    program = onnx_runtime.read(folder / name / f'{key}.onnx')
    for b, t, n in ((1, 1, 1), (3, 130, 64)):
      arrays = _arrays(one.specs, {'b': b, 't': t, 'n': n})
      params = trained[name].predictor.params
      expected = jax.jit(one.function)(params, *arrays)
      found = program.call(*arrays)
      assert isinstance(found, tuple) == isinstance(expected, tuple)
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
        tuple(found) if isinstance(found, tuple) else found,
        tuple(expected) if isinstance(expected, tuple) else expected,
      )


def _arrays(specs, sizes):
  """Windows with masks, or proposals of a stretch."""
  rng = np.random.default_rng(3)
  found = []
  borders = np.sort(rng.integers(0, sizes['t'], (2, sizes['n'])), axis=0)
  for spec in specs:
    shape = tuple(
      size if isinstance(size, int) else sizes[str(size)] for size in spec.shape
    )
    if spec.dtype == np.bool_:
      lengths = rng.integers(1, shape[1] + 1, (shape[0], 1))
      found.append(np.arange(shape[1]) < lengths)
    elif spec.dtype == np.int32:
      found.append(
        borders[sum(x.dtype == np.int32 for x in found)].astype('i4')
      )
    elif shape == (sizes['n'], 2):
      found.append((borders.T + [0, 0.7]).astype(np.float32))
    else:
      found.append(rng.normal(size=shape).astype(np.float32))
  return found


def _converted(function, *arrays, tmp_path):
  """What ONNX Runtime gives for a function, sizes of the first axis symbolic."""
  (n,) = jax.export.symbolic_shape('n')
  specs = tuple(
    jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype) for x in arrays
  )
  path = tmp_path / 'one.onnx'
  path.write_bytes(onnx_programs.serialized(function, specs))
  return onnx_runtime.read(path).call(*arrays)


def test_each_rule_gives_what_jax_gives(tmp_path, caplog):
  caplog.set_level(logging.INFO)
  caplog.set_level(logging.INFO, 'absl')
  x = np.float32([[3, -1, 4], [1, 5, -9], [2, 6, 5], [3, 5, 8]])
  k = np.int32([[0, 1, 2], [3, 4, 5], [7, 9, 11], [-7, 20, 30]])
  cases = {
    'pad': (lambda x: jnp.pad(x, ((0, 0), (2, 1)), constant_values=7), (x,)),
    'pad_before': (lambda x: jnp.pad(x, ((0, 0), (1, 0))), (x,)),
    'pad_along': (lambda x: jnp.pad(x, ((1, 2), (0, 0))), (x,)),
    'rem': (lambda k: lax.rem(k, jnp.full_like(k, 4)), (k,)),
    'floor_divide': (lambda k: k // 4, (k,)),
    'shift_left': (lambda k: jnp.left_shift(3, jnp.abs(k) % 24), (k,)),
    'scan': (lambda x: lax.scan(_step, jnp.zeros(3), x), (x,)),
    'scan_back': (
      lambda x: lax.scan(_step, jnp.ones(3), x, reverse=True),
      (x,),
    ),
    'max_pool': (
      lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 2), (1, 2), ((0, 0), (0, 1))
      ),
      (x,),
    ),
    'max_pool_along': (
      lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (3, 1), (1, 1), ((1, 1), (0, 0))
      ),
      (x,),
    ),
  }
  for function, arrays in cases.values():
    found = _converted(function, *arrays, tmp_path=tmp_path)
    jax.tree.map(
      np.testing.assert_array_equal,
      tuple(np.asarray(x) for x in jax.tree.leaves(found)),
      tuple(np.asarray(x) for x in jax.tree.leaves(function(*arrays))),
    )
  # A user is not told the arguments of each translation.
  loud = [r for r in caplog.records if 'ONNX' in r.getMessage()]
  assert not loud, loud


def _step(carry, row):
  # Sums of whole numbers: exact in any order.
  return carry + row, carry - row


def test_what_onnx_cannot_say_is_named():
  specs = (jax.ShapeDtypeStruct((3, 3), jnp.float32),)
  with pytest.raises(ValueError, match='flat tuple'):
    onnx_programs.serialized(lambda x: {'a': x}, specs)
  with pytest.raises(ValueError, match='dilation'):
    onnx_programs.serialized(
      lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (2, 1), (1, 1), 'VALID', window_dilation=(2, 1)
      ),
      specs,
    )


def test_formats_take_each_others_place(folder, tmp_path, trained):
  exporting.write(trained['template'], tmp_path, 'jax')
  exporting.write(trained['template'], tmp_path, 'onnx')
  assert not list(tmp_path.glob('*.jaxexport'))
  with pytest.raises(ValueError, match='holds no .jaxexport programs'):
    test_exporting._load(tmp_path)
  text = (tmp_path / 'cmsn_loader/__init__.py').read_text()
  assert 'onnxruntime' in text
  for path in (tmp_path / 'cmsn_loader').rglob('*.py'):
    assert 'import jax' not in path.read_text(), path


def test_a_predictor_that_needs_jax_is_refused(trained, monkeypatch):
  source = exporting._source
  monkeypatch.setattr(
    exporting, '_source', lambda module: f'import jax\n{source(module)}'
  )
  with pytest.raises(ValueError, match='imports jax'):
    exporting.loader(trained['template'], 'onnx')
  exporting.loader(trained['template'], 'jax')


@pytest.mark.slow
def test_a_narrow_i3d_gives_the_same_rows(tmp_path):
  config = features_settings.i3d()
  section = config.features.copy_and_resolve_references()
  section.update(weights='random', width=0.125, crop=32)
  made = i3d.build(section)
  exporting.write_extractor(
    video_features.VideoFeatures(made), tmp_path, 'onnx'
  )
  program = onnx_runtime.read(tmp_path / 'extractor.onnx')
  rng = np.random.default_rng(0)
  for b, t in ((1, 2), (2, 3)):
    frames = rng.integers(0, 256, (b, t, 8, 32, 32, 3), np.uint8)
    valid = np.arange(8 * t).reshape(1, t, 8) < 8 * t - rng.integers(
      0, 5, (b, 1, 1)
    )
    rows = jax.jit(made.apply)(
      made.params, frames.reshape(b, 8 * t, 32, 32, 3), valid.reshape(b, -1)
    )
    found = program.call(frames, valid)
    np.testing.assert_allclose(found, rows, atol=1e-4)
    assert np.abs(rows).max() > 1


def test_an_export_says_what_is_missing(monkeypatch, folder):
  monkeypatch.setitem(sys.modules, 'jax2onnx', None)
  monkeypatch.setitem(sys.modules, 'onnxruntime', None)
  with pytest.raises(ImportError, match=r'cmsn_jax\[onnx\]'):
    onnx_programs.serialized(jnp.sin, (jax.ShapeDtypeStruct((2,), 'f4'),))
  with pytest.raises(ImportError, match='pip install onnxruntime'):
    onnx_runtime.read(folder / 'runs/stages.onnx')
  assert exported.describe(folder / 'runs')['config']['chain'] == 'paper'
