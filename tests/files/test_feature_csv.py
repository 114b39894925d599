import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cmsn_jax.files import feature_csv, feature_files

ERROR = feature_files.FeatureFileError
ROWS = np.array([[0.5, -1.25], [2.0, 3.5], [4.75, -0.5]])


def read(path):
  array = feature_csv.CsvArray(str(path))
  return array.read(0, array.num_rows)


@pytest.mark.parametrize(
  'text',
  [
    'a,b\n0.5,-1.25\n2,3.5\n4.75,-.5\n',
    'a;b\n0.5;-1.25\n2;3.5\n4.75;-0.5',
    'a;b\n0,5;-1,25\n2;3,5\n4,75;-0,5\n',
    '0,5;-1,25\n2;3,5\n4,75;-0,5\n',
    'a\tb\r\n0.5\t-1.25\r\n2\t3.5\r\n4.75\t-0.5\r\n\r\n',
    'a,b\r0.5,-1.25\r2,3.5\r4.75,-.5\r',
    'sep=;\na;b\n0,5;-1,25\n2;3,5\n4,75;-0,5\n',
    '\ufeff"a","b"\n"0.5","-1.25"\n"2","3.5"\n"4.75","-0.5"\n',
    '0,1\n0.5,-1.25\n2,3.5\n4.75,-.5\n',  # pandas numbers columns
  ],
)
def test_separators_and_decimal_commas(text, tmp_path):
  (tmp_path / 'a.csv').write_bytes(text.encode())
  np.testing.assert_array_equal(read(tmp_path / 'a.csv'), ROWS)
  array = feature_csv.CsvArray(str(tmp_path / 'a.csv'))
  assert (array.num_rows, array.dim, array.notes) == (3, 2, [])
  np.testing.assert_array_equal(array.read(1, 3), ROWS[1:])


@pytest.mark.parametrize(
  ('header', 'first', 'note'),
  [
    ('', (0, 1, 2), 'numbers the rows'),
    ('Unnamed: 0', (0, 1, 2), 'numbers the rows'),
    ('frame', (100, 108, 116), "'frame'. numbers the rows"),
    ('Frame Number', (1, 2, 3), 'numbers the rows'),
    ('time (s)', (0, 0.04, 0.08), 'times the rows .0.04 from one'),
    ('timestamp', (1.5, 1.7, 1.9), 'times the rows'),
    ('index', (0, 1, 2), 'numbers the rows'),
  ],
)
def test_columns_that_number_the_rows_are_left_out(
  header, first, note, tmp_path
):
  lines = [f'{header},a,b'] + [f'{n},{x},{y}' for n, (x, y) in zip(first, ROWS)]
  (tmp_path / 'a.csv').write_text('\n'.join(lines))
  with pytest.warns(feature_files.FeatureFileWarning, match=note):
    found = feature_files.open_features(tmp_path).read('a')
  np.testing.assert_array_equal(found, ROWS.astype(np.float32))


@pytest.mark.parametrize(
  ('name', 'values'),
  [('frame', (3, 1, 2)), ('speed', (0, 1, 2)), ('time', (0.1, 0.1, 0.2))],
)
def test_other_columns_are_features(name, values, tmp_path):
  lines = [f'{name},b', *(f'{x},{y}' for x, y in zip(values, ROWS[:, 1]))]
  (tmp_path / 'a.csv').write_text('\n'.join(lines))
  np.testing.assert_array_equal(read(tmp_path / 'a.csv')[:, 0], values)


@pytest.mark.parametrize(
  ('text', 'words'),
  [
    ('scorer,s,s\nbodyparts,nose,nose\ncoords,x,y\n0,1,2\n', 'DeepLabCut.*pose_f'),
    ('id,a\nrat,1\nrat,2\n', "text in the column 'id' .'rat'"),
    ('a,b\nx,y\n1,2\n', 'several header rows'),
    ('n,\n0,\n1,\n2,\n', None),
    ('a,b\n1,2\n3\n', 'numbers'),
    ('a,b\n1,\n3,4\n', 'not 2 numbers'),
    ('a,b\n', 'no row'),
    ('frame\n0\n1\n2\n', None),
  ],
)  # fmt: skip
def test_tables_that_are_no_features(text, words, tmp_path):
  (tmp_path / 'a.csv').write_text(text)
  if words is None:
    assert read(tmp_path / 'a.csv').shape == (3, 1)
    return
  with pytest.raises(ERROR, match=words) as caught:
    read(tmp_path / 'a.csv')
  assert 'a.csv' in str(caught.value)


def test_annotation_tables_beside_features_are_no_recordings(tmp_path):
  np.save(tmp_path / 'a.npy', ROWS)
  (tmp_path / 'labels.csv').write_text('video,start,end,label\na,1,3,groom\n')
  (tmp_path / 'a.csv').write_text('Behaviour;Subject\ngroom;rat\n')
  with pytest.warns(feature_files.FeatureFileWarning, match='2 tables are ann'):
    store = feature_files.open_features(tmp_path)
  assert store.ids == ('a',)


def test_annotation_tables_beside_tables_of_features(tmp_path):
  (tmp_path / 'a.csv').write_text('f0,f1\n1,2\n3,4\n')
  (tmp_path / 'truth.csv').write_text('video;start;end\na;1;3\n')
  with pytest.warns(feature_files.FeatureFileWarning, match='truth.csv'):
    assert feature_files.open_features(tmp_path).ids == ('a',)


@settings(
  max_examples=60,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
  hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 9), st.integers(1, 4)),
    elements=st.floats(-1e6, 1e6).map(lambda x: round(x, 6) + 0.0),
  ),
  st.sampled_from([',', ';', '\t']),
  st.booleans(),
  st.sampled_from(['\n', '\r\n', '\r']),
  st.booleans(),
)
def test_any_table_is_read_as_written(
  tmp_path, rows, mark, comma, end, numbered
):
  # A lone column of 1,5 might be two.
  comma = comma and mark != ',' and rows.shape[1] > 1
  text = lambda x: repr(float(x)).replace('.', ',' if comma else '.')
  head = mark.join(f'x{k}' for k in range(rows.shape[1]))
  lines = [mark.join(map(text, row)) for row in rows]
  if numbered:
    head = mark + head
    lines = [f'{k}{mark}{line}' for k, line in enumerate(lines)]
  (tmp_path / 'a.csv').write_bytes(end.join([head, *lines]).encode())
  np.testing.assert_array_equal(read(tmp_path / 'a.csv'), rows)
