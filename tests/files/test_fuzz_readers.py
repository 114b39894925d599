import json
import subprocess
import sys
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmsn_jax.annotations import importers
from tests.annotations import made_files
from tests.files import fuzz_readers

_H5 = ('h5', 'h5 of one', 'mat 7.3', 'pose.h5')


@pytest.mark.parametrize(
  'name', [name for name in fuzz_readers.READERS if name not in _H5]
)
def test_damaged_files_are_read_or_refused(name):
  counts = fuzz_readers.run(name, 60, seed=0)
  # Lines of a label track stay such lines, whatever stands in them.
  assert counts['refused'] > 10 or name.startswith('made: ')
  assert counts.total() == 60


@pytest.mark.parametrize('name', _H5)
def test_damaged_h5_files_are_read_or_refused(name):
  # In a process of its own: the HDF5 library is C code that met worse before.
  done = subprocess.run(
    [sys.executable, '-m', 'tests.files.fuzz_readers', f'--only={name}',
     '--examples=60'],
    cwd=fuzz_readers.pathlib.Path(__file__).parents[2],
    capture_output=True, text=True, timeout=120,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr


number = st.one_of(
  st.integers(-3, 3), st.integers(), st.floats(), st.just(10**400)
)
value = st.recursive(
  st.one_of(st.none(), st.booleans(), number, st.text(max_size=5)),
  lambda inner: st.one_of(
    st.lists(inner, max_size=3),
    st.dictionaries(
      st.sampled_from(['segment', 'label', 'score', 'duration', 'subset', 'x']),
      inner,
      max_size=3,
    ),
  ),
  max_leaves=8,
)
instance = st.one_of(
  value,
  st.fixed_dictionaries(
    {
      'segment': st.one_of(value, st.lists(number, min_size=2, max_size=2)),
      'score': st.one_of(value, st.floats(0, 1)),
      'label': st.one_of(value, st.just('run')),
    }
  ),
)
ids = st.one_of(
  st.sampled_from(['a', 'b', '../a', '/etc/passwd', '']),
  st.text(st.characters(codec=None), max_size=6),
)
video = st.one_of(
  value,
  st.fixed_dictionaries(
    {
      'subset': st.one_of(value, st.just('training')),
      'duration': st.one_of(value, number, st.just(5)),
      'annotations': st.one_of(value, st.lists(instance, max_size=3)),
    },
    optional={'fps': value, 'feature_fps': number},
  ),
)
SETTINGS = settings(
  max_examples=60,
  suppress_health_check=[
    HealthCheck.function_scoped_fixture,
    HealthCheck.too_slow,
  ],
)


@SETTINGS
@given(st.dictionaries(ids, video, max_size=3))
def test_any_annotations(tmp_path, database):
  text = json.dumps({'database': database})
  fuzz_readers.outcome('annotations', text.encode(), tmp_path)


@SETTINGS
@given(st.dictionaries(ids, st.one_of(value, st.lists(instance, max_size=4))))
def test_any_proposals(tmp_path, results):
  text = json.dumps({'results': results})
  fuzz_readers.outcome('proposals', text.encode(), tmp_path)


@SETTINGS
@given(
  st.lists(
    st.lists(st.one_of(st.text(max_size=6), number.map(str)), max_size=5),
    max_size=5,
  ),
  st.sampled_from('csv|lengths.csv|thumos14|csv features'.split('|')),
)
def test_any_tables(tmp_path, rows, name):
  lines = [','.join(row) for row in rows]
  header = fuzz_readers.good(name).decode().splitlines()[:1]
  if name == 'thumos14':
    lines, header = [line.replace(',', ' ') for line in lines], []
  text = '\n'.join(header + lines).encode('utf-8', 'surrogatepass')
  fuzz_readers.outcome(name, text, tmp_path)


@SETTINGS
@given(st.binary(max_size=200), st.sampled_from(sorted(fuzz_readers.READERS)))
def test_any_bytes(tmp_path_factory, content, name):
  folder = tmp_path_factory.mktemp('any')
  fuzz_readers.outcome(name, content, folder)


_FORMATS = ['auto', *importers.readers()]
cell = st.one_of(
  st.sampled_from(
    ['v1', 'START', 'STOP', '1.5', '1,5', '00:00:01.5', 'nan', '1', '0', '"']
  ),
  st.text(max_size=4),
  number.map(str),
)


@SETTINGS
@given(
  st.sampled_from(sorted(made_files.FILES)),
  st.lists(st.lists(cell, max_size=8), max_size=4),
  st.sampled_from(',;\t| '),
  st.sampled_from(_FORMATS),
)
def test_any_table_below_a_known_header(
  tmp_path_factory, name, rows, delimiter, format
):
  made = made_files.FILES[name]
  header = made.content.splitlines()[0][:2000].replace(',', delimiter)
  text = '\n'.join([header, *(delimiter.join(row) for row in rows)])
  path = tmp_path_factory.mktemp('table') / made.name
  path.write_bytes(text.encode('utf-8', 'surrogatepass'))
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    try:
      read = fuzz_readers.read_made(name, path, format)
    except ValueError as error:
      assert str(path) in str(error)
    else:
      fuzz_readers.check_annotations(read)
