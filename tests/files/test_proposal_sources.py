import json
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmsn_jax.files import proposal_files, proposal_sources, proposal_units

ERROR = proposal_files.ProposalFileError
WARNING = proposal_files.ProposalFileWarning
DURATIONS = {'v1': 60.0, 'v2': 120.0, 'v3': 90.0}
CLOCK = proposal_units.Clock(DURATIONS)


def truth(count=8):
  """Of each video: segments in seconds and scores, best first."""
  rng = np.random.default_rng(0)
  found = {}
  for video_id, duration in DURATIONS.items():
    starts = rng.uniform(0, 0.8, count) * duration
    ends = starts + rng.uniform(0.05, 0.2, count) * duration
    scores = np.sort(rng.uniform(size=count))[::-1]
    found[video_id] = np.stack([starts, ends], 1), scores.copy()
  return found


def rows(unit='seconds', fps=25):
  for video_id, (segments, scores) in truth().items():
    factor = {
      'seconds': 1, 'frames': fps, 'fractions': 1 / DURATIONS[video_id]
    }[unit]  # fmt: skip
    for (start, end), score in zip(segments * factor, scores):
      yield video_id, float(start), float(end), float(score)


def check(found, ranked=False, tolerance=1e-6):
  assert set(found) == set(DURATIONS)
  for video_id, (segments, scores) in truth().items():
    np.testing.assert_allclose(
      found[video_id].segments, segments, atol=tolerance
    )
    if ranked:
      scores = 1 / np.arange(1, len(scores) + 1)
    np.testing.assert_allclose(found[video_id].scores, scores)


def write_csv(path, header, lines, mark=','):
  text = [mark.join(header)] if header else []
  text += [mark.join(map(str, line)) for line in lines]
  path.write_text('\n'.join(text) + '\n')
  return path


def test_our_own_json_and_csv(tmp_path):
  ours = {k: proposal_files.Proposals(*v) for k, v in truth().items()}
  proposal_files.write(tmp_path / 'p.json', ours)
  check(proposal_sources.read(tmp_path / 'p.json', CLOCK))
  check(proposal_sources.read(tmp_path / 'p.json'))
  proposal_files.write_csv(tmp_path / 'p.csv', ours)
  with pytest.warns(WARNING, match='taken as seconds, because'):
    check(proposal_sources.read(tmp_path / 'p.csv', CLOCK))


@pytest.mark.parametrize(
  'entry',
  [
    lambda start, end, score: {'segment': [start, end], 'score': score},
    lambda start, end, score: {
      'segment': [str(start), str(end)], 'score': str(score), 'label': 'run'
    },
    lambda start, end, score: [start, end, score],
    lambda start, end, score: {
      't_start': start, 't_end': end, 'score': score, 'label': 3
    },
  ],
)  # fmt: skip
@pytest.mark.parametrize('around', ['results', 'detect_results', None])
def test_dialects_of_json(entry, around, tmp_path):
  results = {}
  for video_id, *row in rows():
    results.setdefault(video_id, []).append(entry(*row))
  document = {around: results, 'version': 'x'} if around else results
  (tmp_path / 'p.json').write_text(json.dumps(document))
  found = proposal_sources.read(tmp_path / 'p.json', CLOCK)
  check(found)
  listed = [
    {'video_id': video_id, **entry}
    for video_id, entries in results.items()
    for entry in entries
    if isinstance(entry, dict)
  ]
  if listed:
    (tmp_path / 'p.json').write_text(json.dumps(listed))
    check(proposal_sources.read(tmp_path / 'p.json', CLOCK))


def test_rank_as_score_in_json(tmp_path):
  results = {}
  for video_id, start, end, _ in rows():
    results.setdefault(video_id, []).append([start, end])
  (tmp_path / 'p.json').write_text(json.dumps(results))
  check(proposal_sources.read(tmp_path / 'p.json', CLOCK), ranked=True)


@pytest.mark.parametrize('unit', ['frames', 'fractions'])
def test_json_in_another_unit_is_asked_for(unit, tmp_path):
  results = {}
  for video_id, start, end, score in rows(unit):
    results.setdefault(video_id, []).append([start, end, score])
  (tmp_path / 'p.json').write_text(json.dumps(results))
  with pytest.raises(ERROR, match=f'should be seconds, but.*as {unit} would'):
    proposal_sources.read(tmp_path / 'p.json', CLOCK)
  clock = CLOCK._replace(unit=unit, fps=25)
  check(proposal_sources.read(tmp_path / 'p.json', clock))


def test_bmn_folder(tmp_path):
  for video_id in DURATIONS:
    lines = [
      (start, end, 0.1, 0.2, 0.3, 0.4, score)
      for v, start, end, score in rows('fractions')
      if v == video_id
    ]
    write_csv(
      tmp_path / f'v_{video_id}.csv',
      'xmin,xmax,xmin_score,xmax_score,clr_score,reg_socre,score'.split(','),
      lines,
    )
  with pytest.warns(WARNING, match='"v_" before them'):
    check(proposal_sources.read(tmp_path, CLOCK))
  with pytest.raises(ERROR, match='need the durations'):
    proposal_sources.read(tmp_path)


@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_actionformer_pickle(protocol, tmp_path):
  columns = list(zip(*rows()))
  tree = {
    'video-id': list(columns[0]),
    't-start': np.array(columns[1], np.float32),
    't-end': np.array(columns[2], np.float32),
    'label': np.arange(len(columns[0])) % 3,
    'score': np.array(columns[3]),
  }
  (tmp_path / 'r.pkl').write_bytes(pickle.dumps(tree, protocol))
  found = proposal_sources.read(tmp_path / 'r.pkl', CLOCK)
  check(found, tolerance=1e-4)
  assert found['v1'].labels[:4] == ('0', '1', '2', '0')


@pytest.mark.parametrize('mark', [' ', ',', '\t'])
def test_daps_and_turn_tables(mark, tmp_path):
  lines = [
    (round(end, 3), round(start, 3), score, round(DURATIONS[v] * 25), v)
    for v, start, end, score in rows('frames')
  ]
  header = 'f-end f-init score video-frames video-name'.split()
  path = write_csv(tmp_path / 'p.csv', header, lines, mark)
  check(proposal_sources.read(path, CLOCK), tolerance=1e-3)
  clock = CLOCK._replace(fps=50)
  half = proposal_sources.read(path, clock)['v1'].segments
  np.testing.assert_allclose(half, truth()['v1'][0] / 2, atol=1e-3)


@pytest.mark.parametrize(
  ('unit', 'words'), [('seconds', 'seconds'), ('fractions', 'fractions')]
)
def test_lines_without_a_header(unit, words, tmp_path):
  path = write_csv(tmp_path / 'p.txt', None, rows(unit), ' ')
  with pytest.warns(WARNING, match=f'taken as {words}, because'):
    check(proposal_sources.read(path, CLOCK))
  with pytest.raises(ERROR, match='does not say whether'):
    proposal_sources.read(path)


def test_frames_are_told_by_the_durations(tmp_path):
  path = write_csv(tmp_path / 'p.txt', None, rows('frames'), ' ')
  with pytest.raises(ERROR, match='need frames a second'):
    with pytest.warns(WARNING, match='taken as frames'):
      proposal_sources.read(path, CLOCK)
  clock = CLOCK._replace(rates=dict.fromkeys(DURATIONS, 25))
  with pytest.warns(WARNING, match='taken as frames'):
    check(proposal_sources.read(path, clock))


def test_rank_as_score_in_lists(tmp_path):
  lines = [row[:3] for row in rows()]
  path = write_csv(tmp_path / 'p.txt', None, lines, ' ')
  with pytest.warns(WARNING, match='taken as'):
    check(proposal_sources.read(path, CLOCK), ranked=True)


@pytest.mark.parametrize('unit', ['fractions', 'frames'])
def test_tag_lists(unit, tmp_path):
  text = ''
  for k, video_id in enumerate(DURATIONS):
    text += f'# {k}\nframes/{video_id}\n{DURATIONS[video_id] * 25:.0f}\n1\n'
    text += '1\n3 0.1 0.2\n'
    own = [row for row in rows(unit) if row[0] == video_id]
    text += f'{len(own)}\n'
    text += ''.join(f'3 0.5 0.6 {start} {end}\n' for _, start, end, _ in own)
  (tmp_path / 'p.txt').write_text(text)
  with pytest.warns(WARNING, match='order of their rows'):
    check(proposal_sources.read(tmp_path / 'p.txt', CLOCK), ranked=True)
  (tmp_path / 'p.txt').write_text(text[: len(text) // 2])
  with pytest.raises(ERROR, match='not a proposal list'):
    proposal_sources.read(tmp_path / 'p.txt', CLOCK)


@pytest.mark.parametrize(
  ('name', 'text', 'words'),
  [
    ('p.csv', 'video,start,end,score\nv1,3,2,1\n', 'start before the end'),
    ('p.csv', 'video,start,end,score\nv1,1,2,nan\n', 'expected numbers'),
    ('p.csv', 'start,end,score\n1,2,3\n', 'one that names the video'),
    ('p.csv', 'video,start,xmin,end\nv1,1,2,3\n', "two columns.*'start'.*'xmin'"),
    ('p.csv', 'a,b\nc,d\n', 'expected a header'),
    ('p.csv', '', 'expected a header'),
    ('p.csv', 'video,start,end\n../x,1,2\n', 'path separator'),
    ('p.json', '{"database": {}}', 'an annotations file'),
    ('p.json', '{"results": {"v1": [{"segment": [1, 2], "score": "x"}]}}',
     'found score'),
    ('p.json', '[1, 2]', 'expected'),
    ('p.pkl', 'text', 'not a pickle'),
  ],
)  # fmt: skip
def test_what_is_no_proposals(name, text, words, tmp_path):
  (tmp_path / name).write_text(text)
  with pytest.raises(ERROR, match=words) as caught:
    proposal_sources.read(tmp_path / name, CLOCK)
  assert name in str(caught.value)


def test_units_that_cannot_be_told(tmp_path):
  path = write_csv(tmp_path / 'p.txt', None, [('v1', 0.1, 0.3, 1)], ' ')
  with pytest.raises(ERROR, match='seconds, frames or fractions.*latest end'):
    proposal_sources.read(path, CLOCK)
  found = proposal_sources.read(path, CLOCK._replace(unit='seconds'))
  np.testing.assert_array_equal(found['v1'].segments, [[0.1, 0.3]])
  with pytest.raises(ValueError, match='unit must be one of'):
    proposal_sources.read(path, CLOCK._replace(unit='hours'))


@settings(
  max_examples=60,
  suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
  st.sampled_from(['seconds', 'frames', 'fractions']),
  st.sampled_from([12.5, 25.0, 29.97, 60.0]),
  st.integers(0, 1000),
)
def test_the_unit_is_found_or_asked_for(tmp_path, unit, fps, seed):
  rng = np.random.default_rng(seed)
  durations = dict(zip('abcde', rng.uniform(20, 4000, 5)))
  lines, seconds = [], {}
  for video_id, duration in durations.items():
    ends = rng.uniform(0.1, 1, 6) * duration
    segments = np.stack([ends * rng.uniform(0, 1, 6), ends], 1)
    seconds[video_id] = segments
    factor = {'seconds': 1, 'frames': fps, 'fractions': 1 / duration}[unit]
    lines += [(video_id, *row, 1.0) for row in (segments * factor).tolist()]
  path = write_csv(tmp_path / 'p.txt', None, lines, ' ')
  clock = proposal_units.Clock(durations, dict.fromkeys(durations, fps))
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', WARNING)
    try:
      found = proposal_sources.read(path, clock)
    except ERROR as problem:
      assert '--proposals_in' in str(problem)
      return
  # Never another unit than it is.
  for video_id, segments in seconds.items():
    np.testing.assert_allclose(found[video_id].segments, segments)
