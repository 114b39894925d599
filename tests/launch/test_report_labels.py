"""Labels, a threshold and two runs on the page, in a real headless browser."""

import json
import subprocess
import sys

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.files import proposal_files
from tests.launch import test_report


def _write(folder):
  """Two videos: rear is found and named, dig found and taken for rear."""
  videos, new, old = {}, {}, {}
  for video_id in ('a', 'b'):
    spans = np.array([[0.0, 10.0], [20.0, 30.0]])
    videos[video_id] = activitynet.Video(
      video_id, 'testing', 40.0, spans, ('rear', 'dig')
    )
    new[video_id] = proposal_files.Proposals(
      np.array([[0.0, 10.0], [20.0, 30.0], [32.0, 38.0]]),
      np.array([0.9, 0.8, 0.4]),
      ('rear', 'rear', 'dig'),
      np.array([0.9, 0.7, 0.5]),
    )
    old[video_id] = proposal_files.Proposals(
      np.array([[0.0, 10.0]]), np.array([0.6]), ('rear',)
    )
  activitynet.write(
    folder / 'annotations.json', activitynet.Annotations('', videos)
  )
  document = json.loads((folder / 'annotations.json').read_text())
  document['database']['a']['ignore'] = [[31.0, 40.0]]
  (folder / 'annotations.json').write_text(json.dumps(document))
  proposal_files.write(folder / 'new.json', new)
  proposal_files.write(folder / 'old.json', old)


@pytest.fixture(scope='module')
def site(tmp_path_factory):
  folder = tmp_path_factory.mktemp('labels')
  _write(folder)
  done = subprocess.run(
    [
      sys.executable, '-m', 'launch.report', f'--proposals={folder}/new.json',
      f'--compare={folder}/old.json', f'--annotations={folder}/annotations.json',
      f'--output={folder}/report.html',
    ],
    cwd=test_report._ROOT, capture_output=True, text=True, timeout=120,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  return folder / 'report.html'


@pytest.fixture
def page(browser, site):
  browser.size(1280, 900)
  browser.scheme('light')
  test_report._open(browser, site)
  return browser


def _click(page, selector, place=0):
  page.run(
    'document.querySelectorAll(arguments[0])[arguments[1]].click()',
    selector, place,
  )  # fmt: skip


def _facts(page, index):
  test_report._show(page, index)
  return test_report._text(page, f'#video-{index} .facts')


def test_a_label_is_shown_alone(page):
  assert 'new 2, old 1 of 2 found' in _facts(page, 1)
  names = page.run(
    'return [...document.querySelectorAll(".chip")].map((x) => x.textContent)'
  )
  assert names == ['rear', 'dig']
  _click(page, '.chip', 1)
  # The one dig of each is found by no proposal that says so.
  assert 'new 0, old 0 of 1 found' in _facts(page, 1)
  rows = 'return document.querySelectorAll("#video-1 .row").length'
  assert page.run(rows) == 1
  assert page.run(
    'return document.querySelectorAll(".chip")[1].ariaPressed'
  ) == 'true'  # fmt: skip
  _click(page, '.chip', 2)
  assert 'new 2, old 1 of 2 found' in _facts(page, 1)
  assert page.run(rows) == 3
  hits = 'return document.querySelectorAll("#video-1 .row.hit").length'
  assert page.run(hits) == 2
  # Of the two that say rear one is about a dig, which is not shown now.
  _click(page, '.chip', 0)
  assert (page.run(rows), page.run(hits)) == (2, 1)
  _click(page, '.chip', 2)
  assert page.run(hits) == 2
  assert page.console() == []


def test_colours_are_of_labels_or_of_matches(page):
  test_report._show(page, 1)
  colours = """
    const line = document.querySelector('#video-1').videoPart.timeline;
    const pen = line.canvas.getContext('2d');
    const track = line.tracks.truth;
    const ratio = devicePixelRatio;
    return [[0, 10], [20, 30]].map(([start, end]) => [...pen.getImageData(
      ratio * (line.x(end) - 6), ratio * (track.y + 4), 1, 1).data].join());
  """
  rear, dig = page.run(colours)
  assert rear == '59,111,182,255' and dig == '200,85,61,255'
  test_report._set(page, '#colour', 'match', 'change')
  assert len(set(page.run(colours))) == 1
  # Chromium remarks that the canvas was read twice, which only this test does.
  assert all('willReadFrequently' in text for text in page.console())


def test_precision_and_recall_at_a_score(page):
  # The best F1: without what finds nothing; .8 and above, all four right.
  assert float(test_report._text(page, '#least-value')) == pytest.approx(0.8)
  numbers = test_report._text(page, '#at-least')
  assert numbers == (
    '100.0 %precision100.0 %recall100.0 %F150.0 %right label, if right'
  )
  cells = """
    return [...document.querySelectorAll('#label-confusion tbody tr')].map(
      (row) => [...row.querySelectorAll('td')].map((x) => x.textContent));
  """
  assert page.run(cells) == [
    ['2', '·', '·'], ['2', '·', '·'], ['·', '·', ''],
  ]  # fmt: skip
  # To the left the score falls: what finds nothing is there too, but for the
  # one where nobody looked, once annotations say so.
  test_report._set(page, '#least', '0')
  assert float(test_report._text(page, '#least-value')) == pytest.approx(0.4)
  assert page.run(cells)[2][1] in ('1', '2')
  # To the right: the two rears alone.
  test_report._set(page, '#least', '100')
  assert '50.0 %recall' in test_report._text(page, '#at-least')
  assert page.run(cells)[1] == ['·', '·', '2']
  assert page.console() == []


def test_two_runs_stand_side_by_side(page):
  table = test_report._text(page, '#compared')
  assert 'new − old' in table and '+50.0' in table
  row = page.run(
    'return [...document.querySelectorAll("#index-rows tr")[0].cells]'
    '.map((x) => x.textContent)'
  )
  assert row[-3:] == ['2 / 2', '1 / 2', '+1']
  assert page.run('return document.querySelectorAll("#compare-an path").length')
  test_report._show(page, 0)
  tracks = page.run(
    'return Object.values(document.querySelector("#video-0")'
    '.videoPart.timeline.tracks).map((x) => x.title)'
  )
  assert tracks == [
    'Ground truth', 'new: top 3 proposals', 'old: proposal',
  ]  # fmt: skip


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_a_phone_scrolls_one_way(page, scheme):
  page.scheme(scheme)
  page.size(390, 800)
  page.wait('return innerWidth <= 400')
  assert page.wait('return document.documentElement.scrollWidth <= innerWidth')
  assert page.console() == []


def test_wrong_calls_say_why(tmp_path):
  for flags, message in (
    (['--workdir=x', '--proposals=y'], 'leave --proposals and --stages out'),
    (['--proposals=y', '--input=z'], '--input is what --workdir proposes for'),
    (['--proposals=y', '--names=a'], '--names must be two'),
  ):
    done = subprocess.run(
      [sys.executable, '-m', 'launch.report', f'--output={tmp_path}/r', *flags],
      cwd=test_report._ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
