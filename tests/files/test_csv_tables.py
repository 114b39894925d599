"""Tables in every writing."""

import codecs

import pytest

from cmsn_jax.files import csv_tables


@pytest.fixture
def write(tmp_path):
  def to_file(content, name='t.csv'):
    path = tmp_path / name
    path.write_bytes(
      content if isinstance(content, bytes) else content.encode()
    )
    return path

  return to_file


def cells(table):
  return [row.cells for row in table.rows]


@pytest.mark.parametrize('delimiter', [',', ';', '\t', '|', ' '])
def test_delimiters(write, delimiter):
  text = 'a,b\n1,"x y"\n' if delimiter != ' ' else 'a,b\n1,x\n'
  read = csv_tables.read(write(text.replace(',', delimiter)))
  assert read.header == ('a', 'b') and read.delimiter == delimiter
  assert cells(read)[0][0] == '1'


@pytest.mark.parametrize(
  ('content', 'note'),
  [
    ('a,b\nä,1\n'.encode('utf-8-sig'), None),
    ('a,b\nä,1\n'.encode('cp1252'), 'read as cp1252 text'),
    ('a,b\nä,1\n'.encode('utf-16'), 'read as utf-16 text'),
    ('a,b\nä,1\n'.encode('utf-16-le'), 'read as utf-16-le text'),
    (codecs.BOM_UTF32_LE + 'a,b\nä,1\n'.encode('utf-32-le'), 'utf-32'),
  ],
)
def test_encodings(write, content, note):
  read = csv_tables.read(write(content))
  assert cells(read) == [('ä', '1')]
  assert bool(note) == bool(read.notes)
  assert not note or note in read.notes[0]


def test_what_stands_above_the_header(write):
  read = csv_tables.read(write('sep=;\r\na;b,c\r\n1;2\r\n'))
  assert read.header == ('a', 'b,c')
  assert read.rows[0].line == 3
  read = csv_tables.read(write('# made by hand\n\na,b\n# no row\n1,2\n'))
  assert cells(read) == [('1', '2')]
  read = csv_tables.read(
    write('Title\n\na;b\n1;2\n'), lambda found: tuple(found) == ('a', 'b')
  )
  assert cells(read) == [('1', '2')]


def test_rows_of_another_width_are_kept_apart(write):
  read = csv_tables.read(write('a,b,\n1,2,\n1,2\n1\n1,2,,4\n'))
  assert read.header == ('a', 'b')
  assert cells(read) == [('1', '2'), ('1', '2')]
  assert read.ragged == ((4, 1), (5, 4))


@pytest.mark.parametrize(
  ('content', 'words'),
  [
    (b'', 'columns .none.'), (b'a,b\n', 'no rows'),
    (b'1,2\n', 'is there no header row'), (b'a\x07b\n', 'control character'),
    (b'"a,b\n', 'not a CSV file'), (b'\x81\x8d,\n', 'not a text file'),
  ],
)  # fmt: skip
def test_what_is_no_table(write, content, words):
  with pytest.raises(csv_tables.TableError, match=words) as caught:
    csv_tables.read(write(content))
  assert 't.csv' in str(caught.value)


def test_spreadsheets(tmp_path, write):
  pytest.importorskip('python_calamine')
  openpyxl = pytest.importorskip('openpyxl')
  book = openpyxl.Workbook()
  for row in [['a', 'b'], [1.0, 'x'], [1.5, None], [True, '=1+1']]:
    book.active.append(row)
  book.create_sheet('notes').append(['more'])
  book.save(tmp_path / 't.xlsx')
  read = csv_tables.read(tmp_path / 't.xlsx')
  assert cells(read)[:2] == [('1', 'x'), ('1.5', '')]
  assert "there are 'notes' too" in read.notes[0]
  content = (tmp_path / 't.xlsx').read_bytes()
  for damaged in (content[:500], b'', content[:-30], b'PK\x03\x04'):
    with pytest.raises(csv_tables.TableError, match='spreadsheet'):
      csv_tables.read(write(damaged, 'd.xlsx'))
