import csv
import json
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cmsn_jax.files import proposal_files


def proposals(rows, scores):
  return proposal_files.Proposals(
    np.array(rows, np.float64).reshape(-1, 2), np.array(scores, np.float64)
  )


@pytest.fixture
def write(tmp_path):
  def to_file(document):
    path = tmp_path / 'p.json'
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_text(text, encoding='utf-8')
    return path

  return to_file


def entry(start, end, score):
  return {'segment': [start, end], 'score': score}


def test_reads_best_first_and_keeps_ties_in_order(write):
  path = write(
    {
      'results': {
        'a': [
          entry(0, 1, 0.25),
          entry(1, 2, 0.5),
          entry(2, 3, 0.25),
          entry(3, 4.5, 1),
        ],
        'b': [],
      }
    }
  )
  read = proposal_files.read(path)
  np.testing.assert_array_equal(
    read['a'].segments, [[3, 4.5], [1, 2], [0, 1], [2, 3]]
  )
  np.testing.assert_array_equal(read['a'].scores, [1, 0.5, 0.25, 0.25])
  assert read['b'].segments.shape == (0, 2)
  assert list(read) == ['a', 'b']


def test_writes_the_documented_form(tmp_path):
  path = tmp_path / 'new' / 'p.json'
  proposal_files.write(
    path,
    {'a': proposals([[0, 1], [1, 2]], [0.1, 0.9]), 'b': proposals([], [])},
    version='x',
    external_data={'used': True},
  )
  assert json.loads(path.read_text()) == {
    'version': 'x',
    'external_data': {'used': True},
    'results': {'a': [entry(1, 2, 0.9), entry(0, 1, 0.1)], 'b': []},
  }


def test_writes_without_any_video(tmp_path):
  proposal_files.write(tmp_path / 'p.json', {})
  assert proposal_files.read(tmp_path / 'p.json') == {}


def test_csv(tmp_path):
  path = tmp_path / 'p.csv'
  proposal_files.write_csv(
    path, {'a,"b"': proposals([[0, 1], [1, 2.5]], [0.1, 0.9])}
  )
  with open(path, newline='') as file:
    assert list(csv.reader(file)) == [
      ['video', 'start', 'end', 'score'],
      ['a,"b"', '1.0', '2.5', '0.9'],
      ['a,"b"', '0.0', '1.0', '0.1'],
    ]


@pytest.mark.parametrize(
  'write', [proposal_files.write, proposal_files.write_csv]
)
def test_refuses_to_write_bad_ids_and_numbers(write, tmp_path):
  path = tmp_path / 'p'
  with pytest.raises(ValueError, match='path separator'):
    write(path, {'../a': proposals([], [])})
  with pytest.raises(ValueError, match='a: .*not finite'):
    write(path, {'a': proposals([[0, 1]], [np.nan])})
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('entries', 'words'),
  [
    ([entry(0, 1, 1), 3], 'a, entry 2: found 3'),
    ([entry(0, 1, 1), entry(2, 1, 1)], r'a, entry 2: found \[2, 1\]'),
    ([entry('0', 1, 1)], "a, entry 1: found segment \\['0', 1\\]"),
    ([entry(0, 10**400, 1)], 'a, entry 1: found segment'),
    ([entry(0, 1, '1')], "a, entry 1: found score '1'"),
    ([entry(0, 1, None)], 'a, entry 1: found score None'),
    ([entry(0, 1, True)], 'a, entry 1: found score True'),
    ([{'segment': [0, 1]}], 'a, entry 1: found score None'),
    ([{'segment': [0, 1, 2], 'score': 1}], 'a, entry 1'),
    ([{'segment': [[0], 1], 'score': 1}], 'a, entry 1'),
    ([{'score': 1}], 'a, entry 1: found segment None'),
    ({}, 'a: found .* expected a list'),
  ],
)
def test_bad_entries_are_named(write, entries, words):
  with pytest.raises(proposal_files.ProposalFileError, match=words):
    proposal_files.read(write({'results': {'a': entries, 'b': []}}))


def test_all_problems_come_at_once(write):
  document = {'results': {'a': [3, entry(2, 1, 'x')], '../b': [], 'c': None}}
  with pytest.raises(proposal_files.ProposalFileError) as caught:
    proposal_files.read(write(document))
  assert len(caught.value.problems) == 5


@pytest.mark.parametrize(
  ('text', 'words'),
  [
    ('[]', 'expected {"results"'),
    ('{"results": []}', 'as "results"'),
    ('{"database": {}}', 'an annotations file'),
    ('{"results": {"a": [], "a": []}}', 'appears twice'),
    ('{"results": {"a": [{"segment": [0, 1], "score": NaN}]}}', 'NaN'),
    ('{"results": {"a": ' + '[' * 60_000, 'nested too deeply'),
    ('{"results": {"a": ' + '[' * 200 + ']' * 200 + '}}', 'a, entry 1'),
  ],
)
def test_documents_that_are_no_proposals(write, text, words):
  with pytest.raises(proposal_files.ProposalFileError, match=words):
    proposal_files.read(write(text))


def test_infinity_by_exponent_is_no_score(write):
  text = '{"results": {"a": [{"segment": [0, 1], "score": 1e999}]}}'
  with pytest.raises(proposal_files.ProposalFileError, match='found score inf'):
    proposal_files.read(write(text))


def test_odd_but_defined_segments_pass_with_a_warning(write):
  document = {'results': {'a': [entry(1, 1, 2), entry(-1, 1, 1)]}}
  with pytest.warns(proposal_files.ProposalFileWarning, match='2 proposals'):
    read = proposal_files.read(write(document))
  np.testing.assert_array_equal(read['a'].segments, [[1, 1], [-1, 1]])


@settings(
  max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
  hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9).map(
      lambda shape: (shape[0], 3)
    ),
    elements=st.floats(0, 1e9),
  )
)
def test_what_is_written_is_read_back_exactly(tmp_path, numbers):
  rows = np.sort(numbers[:, :2], axis=1)
  made = proposals(rows, numbers[:, 2])
  path = tmp_path / 'p.json'
  proposal_files.write(path, {'a': made})
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', proposal_files.ProposalFileWarning)
    read = proposal_files.read(path)['a']
  expected = sorted(
    zip(made.scores, map(tuple, made.segments)), key=lambda pair: -pair[0]
  )
  np.testing.assert_array_equal(read.scores, [s for s, _ in expected])
  assert [tuple(row) for row in read.segments] == [r for _, r in expected]


def labelled(start, end, score, label, **more):
  return {**entry(start, end, score), 'label': label, **more}


def test_labels_are_read_with_their_rows(write):
  rows = [
    labelled(0, 1, 0.25, 'run', label_score=0.5),
    labelled(1, 2, 0.5, 'jump', label_score=1),
  ]
  plain = [labelled(0, 1, 0.25, 'run')]
  read = proposal_files.read(
    write({'results': {'a': rows, 'b': plain, 'c': [entry(0, 1, 1)], 'd': []}})
  )
  assert read['a'].labels == ('jump', 'run')
  np.testing.assert_array_equal(read['a'].label_scores, [1, 0.5])
  assert read['b'].labels == ('run',)
  assert read['b'].label_scores is None
  assert read['c'].labels is None
  assert read['d'].labels is None


def test_labels_are_written_and_read_back(tmp_path):
  found = {
    'a': proposal_files.Proposals(
      np.array([[0.0, 1], [2, 3]]), np.array([0.1, 0.9]),
      ('wäschst', 'say "hi", twice'), np.array([0.25, 0.5]),
    ),
    'b': proposals([[0, 1]], [0.5]),
  }  # fmt: skip
  proposal_files.write(tmp_path / 'p.json', found)
  read = proposal_files.read(tmp_path / 'p.json')
  assert read['a'].labels == ('say "hi", twice', 'wäschst')
  np.testing.assert_array_equal(read['a'].label_scores, [0.5, 0.25])
  assert read['b'].labels is None
  rows = json.loads((tmp_path / 'p.json').read_text())['results']
  assert rows['b'] == [entry(0, 1, 0.5)]
  proposal_files.write_csv(tmp_path / 'p.csv', found)
  with open(tmp_path / 'p.csv', encoding='utf-8', newline='') as file:
    rows = list(csv.DictReader(file))
  assert [row['label'] for row in rows] == ['say "hi", twice', 'wäschst', '']
  assert [row['label_score'] for row in rows] == ['0.5', '0.25', '']


@pytest.mark.parametrize(
  ('rows', 'message'),
  [
    ([labelled(0, 1, 1, 'x'), entry(0, 1, 1)], 'entry 2: found no label'),
    ([labelled(0, 1, 1, 7)], 'found label 7, expected a name'),
    ([labelled(0, 1, 1, '')], 'expected a name'),
    ([labelled(0, 1, 1, 'x', label_score='y')], "label_score 'y'"),
    ([{**entry(0, 1, 1), 'label_score': 1}], 'without a label'),
    (
      [labelled(0, 1, 1, 'x', label_score=1), labelled(0, 1, 1, 'x')],
      'entry 2: found no label_score',
    ),
  ],
)
def test_bad_labels_are_named(write, rows, message):
  with pytest.raises(proposal_files.ProposalFileError, match=message):
    proposal_files.read(write({'results': {'a': rows}}))


def test_blanks_make_no_other_label(write):
  rows = [labelled(0, 1, 0.5, ' rear up\n'), labelled(1, 2, 0.25, 'rear up')]
  read = proposal_files.read(write({'results': {'a': rows}}))
  assert read['a'].labels == ('rear up', 'rear up')
  rows[0]['label'] = ' '
  with pytest.raises(proposal_files.ProposalFileError, match='expected a name'):
    proposal_files.read(write({'results': {'a': rows}}))


def test_as_many_labels_as_segments():
  with pytest.raises(ValueError, match='1 segments but 2 labels'):
    proposal_files.Proposals(np.zeros((1, 2)), np.zeros(1), ('a', 'b'))
  with pytest.raises(ValueError, match='without labels'):
    proposal_files.Proposals(np.zeros((1, 2)), np.zeros(1), None, np.zeros(1))
