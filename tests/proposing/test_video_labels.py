"""Labels of whole videos, by hand."""

import json
import types

import numpy as np
import pytest

from cmsn_jax.chains import prediction
from cmsn_jax.files import proposal_files
from cmsn_jax.proposing import corpus, video_labels

_SCORES = {'v': {'sit': 0.1, 'run': 0.6, 'dig': 0.3}}


def _read(tmp_path, document, top=2):
  path = tmp_path / 'scores.json'
  path.write_text(json.dumps(document))
  return video_labels.read(path, top)


def _found(names=None, likely=None):
  proposals = proposal_files.Proposals(
    np.array([[0.0, 1.0], [2.0, 4.0]]), np.array([0.8, 0.5])
  )
  labels = None
  if names:
    labels = prediction.LabelScores(names, np.array(likely))
  return prediction.labelled(proposals, None, labels)


@pytest.mark.parametrize('form', ['plain', 'activitynet'])
def test_each_likely_label_of_the_video_gets_a_row(tmp_path, form):
  document = _SCORES
  if form == 'activitynet':
    rows = [{'label': k, 'score': x} for k, x in _SCORES['v'].items()]
    document = {'version': 'any', 'results': {'v': rows}}
  known = _read(tmp_path, document)
  found = known.of('v', _found()).rows('all', least=0.0)
  assert found.labels == ('run', 'run', 'dig', 'dig')
  np.testing.assert_allclose(found.scores, [0.48, 0.3, 0.24, 0.15])
  np.testing.assert_allclose(found.label_scores, [0.6, 0.6, 0.3, 0.3])
  one = _read(tmp_path, document, top=1).of('v', _found())
  assert one.proposals.labels == ('run', 'run')
  assert one.labels.names == ('run',)


def test_blanks_make_no_other_label(tmp_path):
  known = _read(tmp_path, {'v': {' run\n': 0.6, 'rear up ': 0.3}})
  assert known.scores == {'v': {'run': 0.6, 'rear up': 0.3}}
  with pytest.raises(ValueError, match="two scores of 'run'"):
    _read(tmp_path, {'v': {'run': 0.6, 'run ': 0.3}})
  with pytest.raises(ValueError, match='expected a name'):
    _read(tmp_path, {'v': {' ': 0.6}})


def test_what_the_chain_says_moves_scores_among_them(tmp_path):
  known = _read(tmp_path, _SCORES)
  own = _found(('dig', 'run', 'x'), [[0.6, 0.2, 0.2], [0.0, 0.5, 0.5]])
  found = known.of('v', own).labels
  assert found.names == ('run', 'dig')
  # Of run and dig: 1 to 3, and run alone.
  np.testing.assert_allclose(
    found.probabilities, [[0.6 / 4, 0.9 / 4], [0.6, 0.0]], atol=1e-5
  )


def test_labels_that_the_chain_does_not_know(tmp_path):
  known = _read(tmp_path, _SCORES)
  # Neither of them: both as likely, as where it knows one.
  found = known.of('v', _found(('x', 'y'), [[0.5, 0.5]] * 2)).labels
  np.testing.assert_allclose(found.probabilities, [[0.3, 0.15]] * 2)
  # One of them: the other is as likely.
  found = known.of('v', _found(('run', 'y'), [[0.5, 0.5]] * 2)).labels
  np.testing.assert_allclose(found.probabilities, [[0.3, 0.15]] * 2)


def test_videos_without_scores_are_named(tmp_path):
  known = _read(tmp_path, _SCORES)
  assert list(known.missing(['v', 'w'])) == ['w']
  assert 'scores.json' in known.missing(['w'])['w']


def test_what_counts_has_a_name(tmp_path):
  known = _read(tmp_path, _SCORES)
  assert known.identity == _read(tmp_path, _SCORES).identity
  others = _read(tmp_path, _SCORES, 1), _read(tmp_path, {'v': {'run': 0.6}})
  assert len({known.identity, *(x.identity for x in others)}) == 3


@pytest.mark.parametrize(
  ('document', 'part'),
  [
    ([], 'expected {"results"'),
    ({'results': {}}, 'expected {"results"'),
    ({'v': {}}, 'v: found an empty object'),
    ({'v': 3}, 'v: found 3'),
    ({'v': {'run': -0.5}}, "'run' with score -0.5"),
    ({'v': {'run': 'much'}}, "'run' with score 'much'"),
    ({'v': [{'label': 'run'}]}, "'run' with score None"),
    ({'v': [{'label': 'a', 'score': 1}] * 2}, "two scores of 'a'"),
  ],
)
def test_what_is_malformed_is_named(tmp_path, document, part):
  with pytest.raises(ValueError, match='scores.json') as error:
    _read(tmp_path, document)
  assert part in str(error.value)


def test_at_least_one_label_counts(tmp_path):
  with pytest.raises(ValueError, match='video_labels_top'):
    _read(tmp_path, _SCORES, 0)


def test_labels_of_which_the_run_knows_none_are_told(tmp_path, caplog):
  path = tmp_path / 'labels.json'
  path.write_text('{"a": {"Dig": 0.5}}')
  found = video_labels.read(path)
  run = types.SimpleNamespace(
    predictor=types.SimpleNamespace(label_names=('dig', 'rear'))
  )
  corpus._check_labels(run, 'best', found)
  assert 'none of its labels (Dig) is one of the run (dig, rear)' in caplog.text
  caplog.clear()
  path.write_text('{"a": {"Dig": 0.5, "dig": 0.25}}')
  corpus._check_labels(run, 'best', video_labels.read(path))
  assert not caplog.records
