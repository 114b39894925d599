"""The page: numbers, packing, escaping, limits, and what it refuses."""

import base64
import hashlib
import html.parser
import json
import pathlib
import re

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.evaluation import paper_tables
from cmsn_jax.files import proposal_files
from cmsn_jax.report import media, packing, render, tables
from cmsn_jax.report import page as report_page

_ASSETS = pathlib.Path(render.__file__).parent / 'assets'


def _video(video_id, spans, labels, duration=20.0):
  return activitynet.Video(
    video_id,
    'testing',
    duration,
    np.array(spans, np.float64).reshape(-1, 2),
    tuple(labels),
  )


def _proposals(spans, scores):
  return proposal_files.Proposals(
    np.array(spans, np.float64).reshape(-1, 2), np.array(scores, np.float64)
  )


def _case():
  truth = {
    'one': _video('one', [[2, 5], [8, 12]], ['rear', 'dig']),
    'two': _video('two', [[1, 3]], ['rear']),
    'silent': _video('silent', [], []),
  }
  given = {
    'one': _proposals([[2, 5], [8, 11], [15, 16]], [0.9, 0.7, 0.2]),
    'two': _proposals([[10, 12]], [0.4]),
  }
  return given, truth


def _page(**changes):
  given, truth = _case()
  return report_page.page(report_page.entries(given, truth), **changes)


class _Parser(html.parser.HTMLParser):
  def __init__(self):
    super().__init__()
    self.tags, self.scripts, self.title = [], {}, ''
    self._at = None

  def handle_starttag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))
    if tag in ('script', 'title'):
      self._at = (tag, dict(attributes).get('id'))

  def handle_endtag(self, tag):
    self._at = None

  def handle_data(self, data):
    if self._at and self._at[0] == 'script':
      self.scripts[self._at[1]] = self.scripts.get(self._at[1], '') + data
    elif self._at and self._at[0] == 'title':
      self.title += data


def _parsed(text):
  parser = _Parser()
  parser.feed(text)
  return parser


def _unpacked(video, score_range):
  raw = base64.b64decode(video['packed'])
  n = len(raw) // 10
  times = np.frombuffer(raw, '<u4', 2 * n).reshape(2, n).T / 1000
  low, high = score_range
  levels = np.frombuffer(raw, '<u2', n, 8 * n)
  return times, low + (high - low) * levels / 65535


def test_numbers_by_hand():
  page = _page(protocol='top_k', ans=(1, 2))
  assert page['num_truth'] == 3 and page['num_proposals'] == 4
  assert [video['id'] for video in page['videos']] == ['one', 'two', 'silent']
  # Best tIoUs: 1 and 3/4 in one, nothing in two.
  assert {g['name']: (g['recall'], g['count']) for g in page['by_label']} == {
    'dig': (1.0, 1),
    'rear': (0.5, 2),
  }
  assert page['misses'] == [{'video': 1, 'truth': 0, 'tiou': 0.0}]
  assert sum(page['histogram']['hit']) == 2
  assert sum(page['histogram']['other']) == 2
  (top_k,) = [row for row in page['metrics'] if row.protocol == 'top_k']
  # K=2: [2,5] at all ten tIoUs, [8,12] at .5 ... .75, [1,3] at none.
  assert top_k.ar_at_an[2] == pytest.approx((1 + 0.6 + 0) / 3)
  assert top_k.videos_without_proposals == ('silent',)


def test_headline_is_top_k_but_for_videos_of_thumos14():
  assert _page()['protocol'] == 'top_k'
  name = 'video_test_0000004'
  entries = report_page.entries(
    {name: _proposals([[0, 2]], [0.5])}, {name: _video(name, [[0, 2]], ['x'])}
  )
  assert report_page.page(entries)['protocol'] == 'thumos'


def test_misses_point_at_the_right_truth_of_each_video():
  truth = {
    'a': _video('a', [], []),
    'b': _video('b', [[0, 2], [5, 9]], ['x', 'y']),
  }
  given = {'b': _proposals([[0, 2]], [0.5])}
  page = report_page.page(report_page.entries(given, truth))
  assert page['misses'] == [{'video': 1, 'truth': 1, 'tiou': 0.0}]
  label = page['videos'][1]['truth'][1][2]
  assert page['labels'][label] == 'y'


def test_packing_keeps_milliseconds_and_scores():
  rng = np.random.default_rng(0)
  spans = np.sort(rng.uniform(0, 20_000, (50, 2)), axis=1)
  scores = np.sort(rng.uniform(-3, 2, 50))[::-1].copy()
  given = {'v': proposal_files.Proposals(spans, scores)}
  page = report_page.page(report_page.entries(given))
  times, found = _unpacked(page['videos'][0], page['score_range'])
  np.testing.assert_allclose(times, spans, atol=0.00051)
  np.testing.assert_allclose(found, scores, atol=5 / 65535)
  # Still best first, which the page's slider relies on.
  assert (np.diff(found) <= 0).all()


def test_starts_before_zero_are_drawn_from_zero():
  packed = packing.pack_proposals(
    np.array([[-1.0, 2.0]]), np.array([0.5]), [0.0, 1.0]
  )
  times, _ = _unpacked({'packed': packed}, (0, 1))
  np.testing.assert_array_equal(times, [[0, 2]])


def test_cap_keeps_the_best_and_says_so():
  page = _page(max_proposals=1)
  times, _ = _unpacked(page['videos'][0], page['score_range'])
  np.testing.assert_array_equal(times, [[2, 5]])
  assert page['videos'][0]['total'] == 3
  text = render.render(page)
  assert 'best 1 proposals of up to 3; the figures count all' in text
  # The recall of the table does not change with what the page holds.
  rows = [row.ar_at_an for row in page['metrics']]
  assert rows == [row.ar_at_an for row in _page()['metrics']]


def _stage_file(folder, video_id, stages, rate=2.0, **changes):
  probabilities = np.eye(6, dtype=np.float16)[np.asarray(stages)]
  np.savez(
    folder / f'{video_id}.npz',
    **({'probabilities': probabilities, 'feature_fps': rate} | changes),
  )


def test_confusion_and_packed_stages(tmp_path):
  given, truth = _case()
  # Video two: [1, 3] at 2 snippets a second, 20 s.
  stages = np.zeros(40, int)
  stages[2:6] = 3
  _stage_file(tmp_path, 'two', stages)
  entries = report_page.entries(given, truth, tmp_path)
  page = report_page.page(entries)
  counts = np.array(page['confusion'])
  assert counts.sum() == 40
  # d = 2: Ready [0, 1), Start [1, 5/3), Confirm, End [7/3, 3), Follow [3, 4).
  np.testing.assert_array_equal(counts[1], [2, 0, 0, 0, 0, 0])
  np.testing.assert_array_equal(counts[2:5, 3], [1, 2, 1])
  np.testing.assert_array_equal(counts[5], [2, 0, 0, 0, 0, 0])
  packed = np.frombuffer(base64.b64decode(page['videos'][1]['stages']), 'u1')
  np.testing.assert_array_equal(packed.reshape(40, 6).argmax(1), stages)
  assert 'stages' not in page['videos'][0]


def test_long_stages_are_averaged(tmp_path):
  given, truth = _case()
  _stage_file(tmp_path, 'one', [0, 0, 0, 3, 3, 3, 5], rate=3.0)
  entries = report_page.entries(given, truth, tmp_path)
  page = report_page.page(entries, max_snippets=3)
  video = page['videos'][0]
  packed = np.frombuffer(base64.b64decode(video['stages']), 'u1').reshape(-1, 6)
  assert video['rate'] == 1.0
  np.testing.assert_array_equal(packed[:, [0, 3, 5]], [
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
  ])  # fmt: skip
  assert 'averaged over neighbouring snippets' in render.render(page)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'probabilities': np.zeros((4, 5))}, r'found probabilities \[4, 5\]'),
    ({'probabilities': np.zeros((0, 6))}, r'found probabilities \[0, 6\]'),
    ({'probabilities': np.full((4, 6), np.nan)}, 'negative or not finite'),
    ({'feature_fps': 0.0}, 'found feature_fps 0.0'),
    ({'feature_fps': np.ones(3)}, 'not readable'),
  ],
)
def test_malformed_stage_files(tmp_path, changes, message):
  given, truth = _case()
  _stage_file(tmp_path, 'one', [0, 1], **changes)
  with pytest.raises(ValueError, match=message) as caught:
    report_page.entries(given, truth, tmp_path)
  assert 'one.npz' in str(caught.value)


def test_stage_files_that_are_none(tmp_path):
  given, truth = _case()
  with pytest.raises(ValueError, match='no stage file for any of the 3 videos'):
    report_page.entries(given, truth, tmp_path)
  with pytest.raises(ValueError, match='not a folder'):
    report_page.entries(given, truth, tmp_path / 'nowhere')
  (tmp_path / 'one.npz').write_bytes(b'no archive')
  with pytest.raises(ValueError, match='one.npz: not readable'):
    report_page.entries(given, truth, tmp_path)
  np.savez(tmp_path / 'one.npz', scores=np.zeros(3))
  with pytest.raises(ValueError, match=r"one.npz: found \['scores'\]"):
    report_page.entries(given, truth, tmp_path)


def test_proposals_of_other_videos_are_named():
  given, truth = _case()
  given['stranger'] = _proposals([[0, 1]], [0.5])
  with pytest.warns(report_page.ReportWarning, match="1 videos.*'stranger'"):
    found = report_page.entries(given, truth)
  assert len(found) == 3


def test_without_truth_there_are_no_figures():
  given, _ = _case()
  page = report_page.page(report_page.entries(given))
  text = render.render(page)
  assert 'AR@' not in _parsed(text).scripts['page-data']
  assert 'No ground truth was given' in text
  assert 'id="protocols"' not in text
  assert page['videos'][0]['duration'] == 16.0


HOSTILE = (
  '</script><img src=x onerror=alert(1)>',
  '<!--<script>',
  '"\'&amp; {{data}} {{script}} \\u003c',
  '\u2028\u2029\x7f',
)


def test_hostile_texts_stay_texts():
  truth = {
    name: _video(name, [[0, 1]], [f'label {name}'])
    for name in (*HOSTILE, 'x\u202ey')
  }
  given = {name: _proposals([[0, 1]], [0.5]) for name in truth}
  page = report_page.page(report_page.entries(given, truth))
  text = render.render(
    page, title=HOSTILE[0], sources=HOSTILE, notes=HOSTILE, subset=HOSTILE[1]
  )
  plain = _parsed(render.render(_page()))
  parsed = _parsed(text)
  extra = {tag for tag, _ in parsed.tags} - {tag for tag, _ in plain.tags}
  assert extra <= {'code'}
  assert not any('onerror' in attributes for _, attributes in parsed.tags)
  # Exactly the two scripts, and the data still says what was given.
  assert set(parsed.scripts) == {'page-data', None}
  data = json.loads(parsed.scripts['page-data'])
  assert [video['id'] for video in data['videos']] == list(truth)
  assert parsed.title == HOSTILE[0]


def test_policy_allows_this_script_and_nothing_else():
  parsed = _parsed(render.render(_page()))
  policy = next(
    attributes['content']
    for tag, attributes in parsed.tags
    if attributes.get('http-equiv') == 'Content-Security-Policy'
  )
  digest = hashlib.sha256(parsed.scripts[None].encode()).digest()
  assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy
  assert "default-src 'none'" in policy
  assert 'unsafe-inline' not in policy.split('script-src')[1]


def test_nothing_is_fetched_and_texts_are_never_parsed_as_html():
  for file in _ASSETS.iterdir():
    text = file.read_text(encoding='utf-8')
    addresses = set(re.findall(r'https?://[^\s\'"]+', text))
    assert addresses <= {'http://www.w3.org/2000/svg'}, file.name
    for trap in ('innerHTML', 'outerHTML', 'insertAdjacent', 'eval(', 'fetch('):
      assert trap not in text, (file.name, trap)
  for tag, attributes in _parsed(render.render(_page())).tags:
    assert (
      tag not in ('link', 'iframe', 'img') or attributes['href'] == 'data:,'
    )
    assert not (tag == 'script' and 'src' in attributes)


def test_published_figures_only_in_their_protocol():
  def data(protocol):
    text = render.render(_page(protocol=protocol))
    return json.loads(_parsed(text).scripts['page-data'])['references'], text

  rows, text = data('thumos')
  assert len(rows['c3d']) == 10 and len(rows['two_stream']) == 9
  best = rows['c3d'][-1]
  assert best['name'] == 'CMSN+Soft-NMS'
  np.testing.assert_allclose(best['points'], [
    [50, 0.4040],
    [100, 0.4671],
    [200, 0.5246],
  ])  # fmt: skip
  assert 'THUMOS14’s test set, as published' in ' '.join(text.split())
  # Not THUMOS14's videos: drawn on request only.
  assert '<option value="none" selected>' in text
  for protocol in ('anet', 'top_k'):
    rows, text = data(protocol)
    assert rows is None and 'id="reference"' not in text


def test_published_figures_are_shown_at_once_for_thumos14():
  given, truth = _case()
  given = {f'video_test_{name}': value for name, value in given.items()}
  truth = {f'video_test_{name}': value for name, value in truth.items()}
  text = render.render(report_page.page(report_page.entries(given, truth)))
  assert '<option value="c3d" selected>' in text


def test_paper_tables_grow_with_an():
  for table in (paper_tables.C3D, paper_tables.TWO_STREAM):
    for values in table.values():
      assert len(values) == len(paper_tables.ANS)
      assert list(values) == sorted(values)


def test_wrong_arguments():
  with pytest.raises(ValueError, match="protocol must be one of .* got 'coco'"):
    _page(protocol='coco')
  with pytest.raises(ValueError, match='>= 1'):
    _page(max_proposals=0)
  with pytest.raises(ValueError, match='no video to report on'):
    report_page.entries({})


def test_links_are_relative_and_encoded(tmp_path):
  (tmp_path / 'films').mkdir()
  for name in ('a b#1.mp4', 'one.webm'):
    (tmp_path / 'films' / name).write_bytes(b'x')
  found = media.find(tmp_path / 'films', ['a b#1', 'one', 'none'])
  assert set(found) == {'a b#1', 'one'}
  link = media.link(found['a b#1'], tmp_path / 'out' / 'page.html')
  assert link == './../films/a%20b%231.mp4'
  with pytest.raises(ValueError, match='none of its 2 videos'):
    media.find(tmp_path / 'films', ['other'])


def test_strip_of_a_real_clip(real_data):
  file = real_data('clips') / 'demo.mp4'
  frames = media.strip(file, 10.0, 4)
  times = [time for time, _ in frames]
  assert len(frames) == 4 and times == sorted(times)
  for _, address in frames:
    assert address.startswith('data:image/jpeg;base64,')
    raw = base64.b64decode(address.partition(',')[2])
    assert raw[:2] == b'\xff\xd8' and len(raw) < 8000


def test_page_is_replaced_whole(tmp_path):
  path = tmp_path / 'sub' / 'page.html'
  size = render.write(path, _page(), title='Rats')
  assert path.stat().st_size == size
  assert [p.name for p in path.parent.iterdir()] == ['page.html']
  # Same input, same bytes.
  assert path.read_text(encoding='utf-8') == render.render(
    _page(), title='Rats'
  )


def test_a_change_that_is_rounded_to_none_has_no_colour():
  steps = [
    {
      'name': name, 'per_video': 10.0, 'average': 0.5, 'recall': [0.5],
      'lost': lost, 'lost_by': 'order' if lost is not None else None,
    }
    for name, lost in (('a', None), ('b', 4e-4), ('c', 0.1), ('d', -0.02))
  ]  # fmt: skip
  found = tables.losses({'tiou_thresholds': [0.5], 'steps': steps})
  assert re.findall('<span>0.0|<span class="(?:lost|gained)">[^<]*', found) == [
    '<span>0.0',
    '<span class="lost">−10.0',
    '<span class="gained">+2.0',
  ]


def test_213_videos_of_200_proposals_stay_small():
  rng = np.random.default_rng(0)
  entries = []
  for k in range(213):
    spans = np.sort(rng.uniform(0, 300, (200, 2)), axis=1)
    entries.append(
      report_page.Entry(
        video_id=f'video_{k:04d}',
        duration_sec=300.0,
        proposals=proposal_files.Proposals(
          spans, np.sort(rng.uniform(0, 1, 200))[::-1].copy()
        ),
        segments_sec=np.sort(rng.uniform(0, 300, (16, 2)), axis=1),
        labels=('x',) * 16,
        probabilities=rng.dirichlet(np.ones(6), 940).astype(np.float32),
        feature_fps=3.125,
      )
    )
  text = render.render(report_page.page(entries))
  assert len(text.encode()) < 4e6
