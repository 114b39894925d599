"""Shared set-up: eight virtual CPU devices, strict shapes, real-data paths."""

import ctypes
import gc
import importlib.metadata
import os
import pathlib

# Most of a test's time went into XLA making programs fast that run once on
# networks of a few numbers. Processes that tests start inherit it; what is set
# outside comes last and wins.
_FLAGS = ['--xla_backend_optimization_level=0']
# Its older emitters take a quarter of the time, a single module on one thread less
# again. Only for versions that have these flags: XLA ends a process that states
# one it does not know.
if importlib.metadata.version('jaxlib').split('.')[:2] in (
  ['0', '9'],
  ['0', '10'],
):
  _FLAGS += [
    '--xla_cpu_use_fusion_emitters=false',
    '--xla_cpu_parallel_codegen_split_count=1',
  ]
os.environ['XLA_FLAGS'] = ' '.join(
  [*_FLAGS, os.environ.get('XLA_FLAGS', '')]
).strip()

# Many tests run the same small programs, in this process, in the other worker
# and in commands that they start: each is compiled once, also between runs.
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR',
  str(pathlib.Path(__file__).parents[1] / '.pytest_cache' / 'programs'),
)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.3')

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

from cmsn_jax import process_memory  # noqa: E402
from tests import whole_networks  # noqa: E402
from tests.launch import webdriver  # noqa: E402

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')

# On a busy machine an example of milliseconds takes seconds.
hypothesis.settings.register_profile('untimed', deadline=None)
hypothesis.settings.load_profile('untimed')

_MOST_BYTES = 3_000_000_000

# Real data live beside the checkout, never in it; tests that need them are
# skipped with a printed reason where they are absent.
_DATA = pathlib.Path(
  os.environ.get(
    'CMSN_TEST_DATA',
    pathlib.Path(__file__).resolve().parents[2] / 'shared' / 'data',
  )
)


@pytest.fixture(autouse=True, scope='session')
def networks_as_in_use():
  """See `whole_networks`."""
  with whole_networks.compiled():
    yield


@pytest.fixture(autouse=True, scope='module')
def programs_of_other_modules():
  """Forgets compiled programs once they fill memory: two workers share it."""
  yield
  if process_memory.resident_bytes() > _MOST_BYTES:
    jax.clear_caches()
    gc.collect()
    # Else the C library keeps what was freed.
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim:
      trim(0)


@pytest.fixture(scope='session')
def browser():
  """One headless Chromium for all tests of pages."""
  reason = webdriver.missing()
  if reason:
    pytest.skip(f'no browser test: {reason}')
  with webdriver.started() as started:
    yield started


@pytest.fixture
def real_data():
  """Returns a function: folder name -> path, skipping where it is absent."""

  def find(name: str) -> pathlib.Path:
    path = _DATA / name
    if not path.exists():
      pytest.skip(f'real data {name!r} not found at {path}')
    return path

  return find


@pytest.fixture
def cases():
  """Returns a function: path below the cases -> path, skipping likewise."""

  def find(name: str) -> pathlib.Path:
    path = _DATA.parent / 'cases' / name
    if not path.exists():
      pytest.skip(f'case {name!r} not found at {path}')
    return path

  return find
