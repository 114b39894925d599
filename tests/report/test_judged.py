"""Labelled proposals on the page, by hand."""

import base64
import dataclasses

import numpy as np
import pytest

from cmsn_jax.files import proposal_files
from cmsn_jax.report import judged
from cmsn_jax.report import page as report_page

_LABELS = ['rear', 'dig', 'groom']


def _entries():
  """Right, wrong, right with a wrong label; one rear is missed."""
  proposals = proposal_files.Proposals(
    np.array([[0.0, 10.0], [50.0, 60.0], [20.0, 30.0]]),
    np.array([0.9, 0.8, 0.7]),
    ('rear', 'dig', 'dig'),
    np.array([0.9, 0.5, 0.6]),
  )
  return [
    report_page.Entry(
      'v', 100.0, proposals,
      np.array([[0.0, 10.0], [20.0, 30.0], [80.0, 90.0]]),
      labels=('rear', 'groom', 'rear'),
    )
  ]  # fmt: skip


def _confusion(found):
  raw = np.frombuffer(base64.b64decode(found['confusion']), '<u2')
  return raw.reshape(-1, 4).tolist()


def test_precision_recall_and_confusion():
  found = judged.operating(_entries(), _LABELS)
  assert [curve['tiou'] for curve in found['curves']] == [0.3, 0.5, 0.7]
  half = found['curves'][1]
  assert half['min_scores'] == [0.9, 0.8, 0.7]
  assert half['kept'] == [1, 2, 3]
  assert half['right'] == [1, 1, 2]
  assert half['named'] == [1, 1, 1]
  assert (found['num_truth'], found['num_videos']) == (3, 1)
  assert found['truth_by_label'] == [2, 0, 1]
  # step, true, predicted, count; 65535 is nothing.
  assert _confusion(found) == [[0, 0, 0, 1], [1, 65535, 1, 1], [2, 2, 1, 1]]


def test_average_precision_of_each_label():
  found = judged.average_precision(_entries(), _LABELS)
  classes = {_LABELS[row['label']]: row for row in found['classes']}
  # The one rear proposal finds one of two; groom has no proposal; dig no truth.
  assert set(classes) == {'rear', 'groom'}
  assert classes['rear']['at_half'] == 0.5 and classes['rear']['count'] == 2
  assert classes['groom']['ap'] == [0.0] * 17
  assert found['map'] == 0.25
  assert found['tious'][8] == 0.5


def test_ambiguous_spans_are_no_class():
  entry = dataclasses.replace(
    _entries()[0],
    segments_sec=np.array([[0.0, 10.0], [20.0, 30.0], [80.0, 90.0]]),
    labels=('rear', 'Ambiguous', 'rear'),
  )
  found = judged.average_precision([entry], [*_LABELS, 'Ambiguous'])
  assert [row['label'] for row in found['classes']] == [0]
  assert found['map'] == 0.5
  entry = dataclasses.replace(entry, labels=('Ambiguous',) * 3)
  assert judged.average_precision([entry], [*_LABELS, 'Ambiguous']) is None


def test_where_nobody_looked_wrong_ones_do_not_count():
  entry = dataclasses.replace(_entries()[0], ignore=np.array([[54.0, 70.0]]))
  found = judged.operating([entry], _LABELS)
  assert found['curves'][1]['kept'] == [1, 1, 2]
  assert _confusion(found) == [[0, 0, 0, 1], [2, 2, 1, 1]]


def test_without_labels_there_is_no_confusion_nor_average_precision():
  entry = _entries()[0]
  plain = proposal_files.Proposals(*entry.proposals)
  entry = dataclasses.replace(entry, proposals=plain)
  found = judged.operating([entry], _LABELS)
  assert 'confusion' not in found
  assert found['curves'][1]['named'] == [0, 0, 0]
  assert judged.average_precision([entry], _LABELS) is None


def test_no_proposals_at_all():
  none = proposal_files.Proposals(np.zeros((0, 2)), np.zeros(0))
  entry = dataclasses.replace(_entries()[0], proposals=none)
  assert judged.operating([entry], _LABELS) is None
  assert judged.average_precision([entry], _LABELS) is None


def test_counts_above_sixteen_bits_take_several_rows():
  packed = judged._packed(np.array([[0, -1, 2, 70_000], [1, 1, 1, 3]]))
  rows = np.frombuffer(base64.b64decode(packed), '<u2').reshape(-1, 4)
  assert sorted(rows.tolist()) == [
    [0, 65535, 2, 4465], [0, 65535, 2, 65535], [1, 1, 1, 3],
  ]  # fmt: skip


def test_the_page_orders_labels_by_how_often_they_occur():
  page = report_page.page(_entries())
  assert page['labels'] == ['rear', 'groom', 'dig']
  assert len(page['colours']) == 3 and page['labelled']
  assert page['detection']['map'] == 0.25
  video = page['videos'][0]
  numbers = np.frombuffer(base64.b64decode(video['named']), '<u2')
  assert numbers.tolist() == [0, 2, 2]
  sure = np.frombuffer(base64.b64decode(video['sure']), '<f4')
  assert sure == pytest.approx([0.9, 0.5, 0.6])


def test_two_runs_are_compared_on_the_same_videos():
  entry = dataclasses.replace(
    _entries()[0],
    other=proposal_files.Proposals(np.array([[80.0, 90.0]]), np.array([0.5])),
  )
  page = report_page.page([entry], names=('new', 'old'), ans=(1, 2))
  own, other = (
    next(row for row in rows if row.protocol == 'top_k').ar_at_an
    for rows in (page['metrics'], page['compare']['metrics'])
  )
  # The first finds one of three at all ten tIoUs, as has the other run's only.
  assert own == {1: pytest.approx(1 / 3), 2: pytest.approx(1 / 3)}
  assert other == {1: pytest.approx(1 / 3), 2: pytest.approx(1 / 3)}
  assert page['videos'][0]['other']['total'] == 1
