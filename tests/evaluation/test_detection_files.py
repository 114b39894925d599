"""mAP from files, its table and its pictures."""

import json

import matplotlib.figure
import numpy as np
import pytest

from cmsn_jax.evaluation import detection, detection_files, detection_plots

_PNG = b'\x89PNG\r\n\x1a\n'


@pytest.fixture
def files(tmp_path):
  def entry(start, end, label):
    return {'segment': [start, end], 'label': label}

  database = {
    'a': {
      'subset': 'testing',
      'duration': 60.0,
      'annotations': [
        entry(0, 10, 'run'),
        entry(20, 30, 'jump'),
        entry(40, 50, 'Ambiguous'),
      ],
    },
    'b': {'subset': 'testing', 'duration': 60.0, 'annotations': []},
  }
  (tmp_path / 'truth.json').write_text(
    json.dumps({'version': '1', 'database': database})
  )
  rows = [
    {**entry(45, 60, 'run'), 'score': 0.9},
    {**entry(0, 10, 'run'), 'score': 0.8},
    {**entry(1, 10, 'run'), 'score': 0.7},
    {**entry(20, 25, 'jump'), 'score': 0.6},
  ]
  (tmp_path / 'found.json').write_text(json.dumps({'results': {'a': rows}}))
  return tmp_path


def _evaluate(folder, **options):
  return detection_files.evaluate_files(
    folder / 'found.json', folder / 'truth.json', 'testing', **options
  )


def test_ambiguous_ground_truth_is_neither_right_nor_wrong(files):
  result = _evaluate(files)
  assert result.labels == ('jump', 'run')
  assert result.num_ambiguous == 1
  # .5 of jump at tIoU .3 to .5; run is first where the span hides the other.
  np.testing.assert_allclose(result.ap, [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
  result = _evaluate(files, exclude_labels=['Ambiguous'])
  assert result.num_ambiguous == 0
  np.testing.assert_allclose(result.ap[1], 1 / 2)


def test_a_misspelt_ambiguous_label_is_named(files):
  with pytest.raises(ValueError, match=r"'Jump' in ambiguous_labels.*'jump'"):
    _evaluate(files, ambiguous_labels=['Jump'])
  # One that is left out as well, and the default where nothing is ambiguous.
  names = ['Ambiguous']
  both = _evaluate(files, ambiguous_labels=names, exclude_labels=names)
  assert both.num_ambiguous == 0


def test_class_wise_suppression_comes_first(files):
  def best(segments, scores, labels):
    assert labels == ('run', 'run', 'run', 'jump')
    return np.array([0, 1]), scores[:2]

  result = _evaluate(files, suppress=best)
  assert result.num_detections.tolist() == [0, 2]


def test_table_and_files(files):
  result = _evaluate(files)
  text = detection_files.table(result)
  assert (
    'map            2        2             2          1           4' in text
  )
  assert 'mAP   1.0000' in text
  assert text.index('jump  ') < text.index('run  ')
  assert '1 videos without detections: b' in text
  assert 'localisation' in text
  detection_files.write(result, files / 'out')
  written = json.loads((files / 'out' / 'metrics.json').read_text())
  assert written['map'] == pytest.approx(0.8)
  assert written['errors']['detections']['double'] == 1
  assert sorted(p.name for p in (files / 'out').iterdir()) == [
    'ap_by_class.png', 'errors.png', 'metrics.json',
  ]  # fmt: skip
  for name in ('ap_by_class.png', 'errors.png'):
    assert (files / 'out' / name).read_bytes().startswith(_PNG)


def test_many_classes_are_cut_with_a_word(files):
  rng = np.random.default_rng(0)
  names = [f'class {k}' for k in range(60)]
  truth = {'a': (np.array([[k, k + 1.0] for k in range(60)]), names)}
  segments = truth['a'][0] + rng.normal(0, 0.2, (60, 2))
  found = {'a': (np.sort(segments, axis=1), rng.random(60), names)}
  result = detection.evaluate(found, truth)
  assert '(30 classes with higher AP not shown)' in detection_files.table(
    result
  )
  detection_plots.ap_by_class(result, files / 'classes.png')
  assert (files / 'classes.png').read_bytes().startswith(_PNG)


def test_pictures_show_the_figures(files, monkeypatch):
  figures = []
  save = matplotlib.figure.Figure.savefig

  def keep(self, *args, **kwargs):
    figures.append(self)
    save(self, *args, **kwargs)

  monkeypatch.setattr(matplotlib.figure.Figure, 'savefig', keep)
  result = _evaluate(files)
  detection_plots.ap_by_class(result, files / 'a.png')
  detection_plots.error_split(result.errors, files / 'b.png')
  bars = figures[0].axes[0].patches
  np.testing.assert_allclose([bar.get_width() for bar in bars], [0.6, 1.0])
  shares = np.array([b.get_height() for b in figures[1].axes[0].patches])
  counts = result.errors.counts
  expected = counts / np.maximum(counts.sum(axis=1), 1)[:, None] * 100
  np.testing.assert_allclose(shares.reshape(5, 10).T, expected)


def test_rows_without_labels_are_refused(files):
  path = files / 'found.json'
  rows = [{'segment': [0, 1], 'score': 1.0}]
  path.write_text(json.dumps({'results': {'a': rows}}))
  with pytest.raises(ValueError, match='mAP needs "label"'):
    _evaluate(files)
  path.write_text(json.dumps({'results': {'a': []}}))
  assert _evaluate(files).average_map == 0


def test_where_nobody_looked_nothing_is_wrong(tmp_path):
  truth = {
    'database': {
      'a': {
        'subset': 'testing',
        'duration': 100.0,
        'annotations': [{'segment': [0, 10], 'label': 'x'}],
      }
    }
  }
  found = {
    'results': {
      'a': [
        {'segment': [60, 70], 'score': 0.9, 'label': 'x'},
        {'segment': [0, 10], 'score': 0.8, 'label': 'x'},
      ]
    }
  }
  proposals, path = tmp_path / 'found.json', tmp_path / 'truth.json'
  proposals.write_text(json.dumps(found))

  def figures(ignore):
    truth['database']['a']['ignore'] = ignore
    path.write_text(json.dumps(truth))
    return detection_files.evaluate_files(proposals, path, 'testing')

  plain, known = figures([]), figures([[50, 100]])
  assert plain.average_map == 0.5 and known.average_map == 1.0
  assert plain.errors.to_json()['detections']['background'] == 1
  assert known.errors.to_json()['detections']['background'] == 0
  # Also after an NMS that keeps the last and the first.
  other = detection_files.evaluate_files(
    proposals,
    path,
    'testing',
    suppress=lambda s, c, n: (np.array([1, 0]), c[[1, 0]]),
  )
  assert other.average_map == 1.0
