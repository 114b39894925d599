"""Files in, figures out: the table and what is written."""

import json

import numpy as np
import pytest

from cmsn_jax.evaluation import from_files, metrics
from cmsn_jax.files import proposal_files


def _annotations(path, videos):
  database = {
    name: {
      'subset': subset,
      'duration': 100.0,
      'annotations': [
        {'segment': segment, 'label': label} for segment, label in rows
      ],
    }
    for name, (subset, rows) in videos.items()
  }
  path.write_text(json.dumps({'version': '1', 'database': database}))
  return path


def _proposals(path, videos):
  results = {
    name: [{'segment': [s, e], 'score': score} for s, e, score in rows]
    for name, rows in videos.items()
  }
  document = {'version': '1', 'external_data': {}, 'results': results}
  path.write_text(json.dumps(document))
  return path


@pytest.fixture
def files(tmp_path):
  truth = {
    'a': ('testing', [([0, 10], 'x'), ([20, 30], 'Ambiguous')]),
    'b': ('testing', [([5, 9], 'x')]),
    'c': ('training', [([0, 1], 'x')]),
  }
  found = {'a': [[0, 10, 0.9], [50, 60, 0.8]], 'b': [[5, 9, 0.7]]}
  return (
    _proposals(tmp_path / 'proposals.json', found),
    _annotations(tmp_path / 'annotations.json', truth),
  )


def test_evaluate_files(files):
  result = from_files.evaluate_files(*files, 'testing', protocol='top_k')
  assert result.num_videos == 2
  assert result.num_ground_truth == 3
  assert result.ar_at_an[10] == pytest.approx(2 / 3)


def test_exclude_labels(files):
  result = from_files.evaluate_files(
    *files, 'testing', exclude_labels=['Ambiguous'], protocol='top_k'
  )
  assert result.num_ground_truth == 2
  assert result.ar_at_an[10] == 1.0
  with pytest.raises(ValueError, match="unknown label 'ambiguous'"):
    from_files.evaluate_files(*files, 'testing', exclude_labels=['ambiguous'])


def test_errors_name_the_files(files, tmp_path):
  with pytest.raises(
    ValueError, match=r'proposals.json against the training subset .*share no'
  ):
    from_files.evaluate_files(*files, 'training')
  with pytest.raises(ValueError, match='unknown subset'):
    from_files.evaluate_files(*files, 'test')
  with pytest.raises(FileNotFoundError, match='none.json'):
    from_files.evaluate_files(tmp_path / 'none.json', files[1], 'testing')


def test_proposals_past_the_end_of_the_video_are_warned_of(files, tmp_path):
  # 100 s long; half a second over is rounding.
  found = {'a': [[90, 100.4, 0.9], [0, 160, 0.8]], 'b': [[400, 900, 0.7]]}
  path = _proposals(tmp_path / 'late.json', found)
  with pytest.warns(
    proposal_files.ProposalFileWarning,
    match=r'2 proposals in 2 of 2 videos .* in b: by 800\.0 s',
  ):
    from_files.evaluate_files(path, files[1], 'testing')


def test_write(files, tmp_path):
  result = from_files.evaluate_files(*files, 'testing', ans=(1, 100))
  folder = tmp_path / 'deep' / 'out'
  from_files.write(result, folder)
  assert sorted(p.name for p in folder.iterdir()) == [
    'ar_an.png',
    'metrics.json',
    'recall_tiou.png',
  ]
  document = json.loads((folder / 'metrics.json').read_text())
  assert document == result.to_json()
  assert document['ar_at_an']['100'] is None


def test_only_anet_shows_the_area_under_the_curve():
  truth = {'a': np.array([[0.0, 1.0]])}
  found = {'a': (np.array([[0.0, 1.0]]), np.array([1.0]))}
  for protocol in metrics.PROTOCOLS:
    result = metrics.evaluate(found, truth, ans=(1,), protocol=protocol)
    assert ('AUC' in from_files.table(result)) == (protocol == 'anet')


def test_table():
  truth = {'a': np.array([[0.0, 1.0]]), 'b': np.array([[0.0, 1.0]])}
  found = {'a': (np.array([[0.0, 1.0]]), np.array([1.0]))}
  result = metrics.evaluate(
    found, truth, ans=(1, 200), tiou_thresholds=[0.5, 1.0]
  )
  assert from_files.table(result) == '\n'.join(
    [
      'protocol  videos  ground truth  proposals  a video',
      'thumos    1 of 2             1          1      1.0',
      '',
      'AN       1  200',
      'AR  1.0000    -',
      '',
      'tIoU             0.50    1.00',
      'recall @ AN 1  1.0000  1.0000',
      '',
      '- : no AN that high exists, the highest is 1.0',
      '',
      '1 videos without proposals: b',
    ]
  )


def test_proposals_where_nobody_looked_do_not_count(tmp_path, files):
  proposals = _proposals(
    tmp_path / 'found.json',
    # The best three lie where nobody looked, or mostly.
    {'a': [[60, 70, 0.9], [45, 60, 0.8], [80, 90, 0.7], [0, 10, 0.6]]},
  )
  path = files[1]
  plain = from_files.evaluate_files(
    proposals, path, 'testing', protocol='top_k', ans=(1, 10)
  )
  assert plain.ar_at_an == {1: 0.0, 10: pytest.approx(1 / 3)}
  document = json.loads(path.read_text())
  document['database']['a']['ignore'] = [[50, 100]]
  path.write_text(json.dumps(document))
  found = from_files.evaluate_files(
    proposals, path, 'testing', protocol='top_k', ans=(1, 10)
  )
  assert found.ar_at_an == {1: pytest.approx(1 / 3), 10: pytest.approx(1 / 3)}
  assert found.num_proposals == 1


def test_instances_where_nobody_looked_do_not_count(files):
  path = files[1]
  document = json.loads(path.read_text())
  document['database']['a']['ignore'] = [[18, 40]]
  path.write_text(json.dumps(document))
  with pytest.warns(UserWarning, match='neither learned nor counted'):
    found = from_files.evaluate_files(*files, 'testing', protocol='top_k')
  assert found.num_ground_truth == 2 and found.ar_at_an[10] == 1.0


def test_rows_of_several_labels_a_segment_are_warned_of(files, recwarn):
  rows = np.array([[0.0, 10.0], [0.0, 10.0], [5.0, 9.0]])
  one = proposal_files.Proposals(
    rows, np.array([0.9, 0.8, 0.7]), ('run', 'dig', 'run')
  )
  with pytest.warns(proposal_files.ProposalFileWarning, match='1 of 3 rows'):
    from_files.evaluate_files({'a': one}, files[1], 'testing', protocol='top_k')
  recwarn.clear()
  from_files.evaluate_files(
    {'a': one.take(np.array([0, 2]))}, files[1], 'testing', protocol='top_k'
  )  # fmt: skip
  assert not any('repeat' in str(x.message) for x in recwarn)
