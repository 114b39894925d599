"""A stream on a predictor that is known, and on a trained run."""

import json

import numpy as np
import pytest

import cmsn_jax
from cmsn_jax.chains import prediction
from cmsn_jax.data import sources
from cmsn_jax.files import proposal_files
from cmsn_jax.proposing import streaming
from cmsn_jax.proposing import told as told_lib
from cmsn_jax.runs import trained as trained_lib
from configs import rat_social, rat_social_plus


class Bumps:
  """Proposes each stretch of ones in column 0, with its mean of column 1.

  A stretch that reaches the end of what is seen has no end yet.
  """

  def __init__(self):
    self.sizes, self.starts = [], []

  def propose(self, source, video_ids, on_error=None):
    for video_id in video_ids:
      rows = source.read(video_id, 0, source.num_snippets(video_id))
      self.sizes.append(len(rows))
      ones = np.concatenate([[0], rows[:, 0] > 0.5, [0]]).astype(int)
      starts = np.flatnonzero(np.diff(ones) == 1)
      ends = np.flatnonzero(np.diff(ones) == -1)
      segments = np.stack([starts, ends], axis=1) / source.feature_fps
      scores = [rows[a:b, 1].mean() for a, b in zip(starts, ends)]
      clock = sources.clock(source, video_id)
      self.starts.append(round(clock.offset_sec * source.feature_fps))
      found = proposal_files.Proposals(
        clock.to_sec(segments.astype(np.float64)), np.array(scores, np.float64)
      )
      yield video_id, prediction.Prediction(found.best_first(), None)


def _run(fps=5.0, pool=1, offset_sec=0.0, **about):
  config = rat_social.get_config()
  with config.unlocked():
    config.windows.length = 60
  data = {
    'file_fps': fps, 'feature_fps': fps / pool, 'file_dim': 2, 'pool': pool,
    'offset_sec': offset_sec, **about,
  }  # fmt: skip
  return trained_lib.Trained(Bumps(), config, data, None, 'x')


def _recording(seconds, fps, seed=0):
  """Rows, and the segments in them; durations of 1 to 6 s, gaps of 1 to 5."""
  rng = np.random.default_rng(seed)
  rows, segments, now = np.zeros((round(seconds * fps), 2), np.float32), [], 2.0
  while now < seconds - 8:
    end = now + rng.integers(1, 7)
    a, b = round(now * fps), round(end * fps)
    rows[a:b] = 1, rng.uniform(0.1, 0.9)
    segments.append((now, end))
    now = end + rng.integers(1, 6)
  return rows, np.array(segments)


def _pushed(stream, rows, sizes):
  """[(seconds when it was told, start, end)], and all proposals."""
  told, at = [], 0
  for size in sizes:
    found = stream.push(rows[at : at + size])
    at += size
    told += [(stream.now_sec, *segment) for segment in found.segments]
  assert at >= len(rows)
  rest = stream.flush()
  return told, [tuple(s) for s in rest.segments]


@pytest.mark.parametrize('pool', [1, 2])
def test_each_is_told_once_in_time_whatever_is_pushed_at_once(pool):
  rows, segments = _recording(400, 10.0)
  lists = []
  for size in (1, 7, 5000):
    run = _run(10.0, pool)
    stream = streaming.Stream(run, latency_sec=4.0)
    told, rest = _pushed(stream, rows, [size] * -(-len(rows) // size))
    lists.append([s for *_, a, b in told for s in [(a, b)]] + rest)
    found = np.array(sorted(lists[-1]))
    np.testing.assert_allclose(found, segments, atol=1e-9)
    if size == 1:
      delays = [at - end for at, _, end in told]
      assert len(told) > 50
      assert max(delays) <= stream.latency_sec + 1e-9
      early = 1.5 * stream.step_sec + 0.2
      assert min(delays) >= stream.latency_sec - early - 1e-9
    # Memory: no look sees more than two windows, and nothing else is kept.
    assert max(run.predictor.sizes) <= 120
    assert len(stream._kept) <= 130 and len(stream._tail._rows) <= 4000
  assert sorted(lists[0]) == sorted(lists[1]) == sorted(lists[2])


def test_slowed_snippets_fall_on_the_same_instants_in_every_look():
  rows, _ = _recording(100, 10.0)
  run = _run(10.0)
  run.config.template.slow_features = 1.5
  # A look every 11 snippets: without care every other would begin at an odd one.
  stream = streaming.Stream(run, latency_sec=4.4)
  assert stream.step_sec == 1.1
  _pushed(stream, rows, [len(rows)])
  starts = np.array(run.predictor.starts)
  assert starts.max() > 800 and not (starts % 2).any()


def test_time_begins_where_the_features_do_and_rates_are_converted():
  rows, segments = _recording(120, 20.0, seed=1)
  # The run has 10 rows a second, whose first window begins at .3 s.
  run = _run(10.0, offset_sec=0.3)
  stream = streaming.Stream(run, feature_fps=20.0, latency_sec=4.0)
  told, rest = _pushed(stream, rows, [3] * -(-len(rows) // 3))
  found = np.array(sorted([(a, b) for _, a, b in told] + rest))
  assert len(found) == len(segments)
  # Of its own rows, the recording's first window begins after three too.
  assert abs(found - segments - 0.15).max() <= 0.06
  assert abs(stream.now_sec - 120.15) < 1e-9
  with pytest.raises(ValueError, match='has 50 snippets a second'):
    streaming.Stream(run, feature_fps=50.0, latency_sec=4.0)


@pytest.mark.parametrize('fps', [2.5, 3.0, 4.9, 7.0, 10.0])
@pytest.mark.parametrize('latency_sec', [0.1, 4.0])
def test_rows_of_another_rate_are_told_in_time_too(fps, latency_sec):
  rows, segments = _recording(200, fps, seed=2)
  stream = streaming.Stream(_run(5.0), feature_fps=fps, latency_sec=latency_sec)
  told, _ = _pushed(stream, rows, [1] * len(rows))
  assert len(told) > 20
  assert max(at - end for at, _, end in told) <= stream.latency_sec + 1e-9


def test_memory_is_the_same_after_ten_hours():
  run = _run(5.0)
  stream = streaming.Stream(run, latency_sec=60.0)
  rows = np.zeros((18000, 2), np.float32)
  for start in range(0, 18000, 100):
    rows[start : start + 50] = 1
  sizes = []
  for _ in range(10):
    stream.push(rows)
    kept = (stream._kept, stream._tail._rows, stream._told.recent.segments)
    assert len(stream._told.recent.scores) > 1
    sizes.append(sum(one.nbytes for one in kept))
  assert len(set(sizes)) == 1 and abs(stream.now_sec - 36000) < 1e-6
  # In single precision a second's fifth would be lost by now.
  found = stream.push(rows)
  found = found.segments[np.argsort(found.segments[:, 0])]
  starts = found[0, 0] + 20.0 * np.arange(len(found))
  assert len(found) > 175 and found[0, 0] % 20 == 0 and found[-1, 0] > 39500
  np.testing.assert_array_equal(found, np.stack([starts, starts + 10], axis=1))


def test_wrong_rows_and_runs_are_refused():
  stream = streaming.Stream(_run(), latency_sec=4.0)
  with pytest.raises(ValueError, match=r'shape \[t, 2\].* got \(4, 3\)'):
    stream.push(np.zeros((4, 3)))
  stream.push(np.zeros((4, 2)))
  bad = np.zeros((4, 2))
  bad[1, 1] = np.nan
  with pytest.raises(ValueError, match='row 5 of the stream has NaN'):
    stream.push(bad)
  assert not len(stream.flush().scores)
  with pytest.raises(ValueError, match='has ended'):
    stream.push(np.zeros((4, 2)))
  assert not len(streaming.Stream(_run(), latency_sec=1.0).flush().scores)
  with pytest.raises(ValueError, match='latency_sec must be given'):
    streaming.Stream(_run())
  for name in ('feature_fps', 'latency_sec', 'context_sec'):
    for value in (0.0, -2.0, np.nan, np.inf):
      with pytest.raises(ValueError, match=f'{name}.* must be above 0 and fin'):
        streaming.Stream(_run(), **{'latency_sec': 4.0, name: value})
  with pytest.raises(ValueError, match='stretched'):
    streaming.Stream(_run(rescaled=True), latency_sec=1.0)
  video = _run()
  with video.config.unlocked():
    video.config.data.input = 'video'
  with pytest.raises(ValueError, match='trained on video'):
    streaming.Stream(video, latency_sec=1.0)


@pytest.mark.slow
def test_a_trained_run_recalls_nearly_as_much_as_offline(tmp_path):
  config = rat_social_plus.get_config('smoke')
  config.data.annotations = 'generated:6x150'
  config.template.steps = 60
  model = cmsn_jax.train(config, tmp_path / 'run', quiet=True)
  folder = tmp_path / 'run' / 'generated'
  document = json.loads((folder / 'annotations.json').read_text())
  database = document['database']
  # Two are enough to compare: each look runs as slowly as tests do.
  seen = sorted(k for k, v in database.items() if v['subset'] == 'training')[:2]
  document['database'] = {k: database[k] for k in seen}
  (tmp_path / 'seen.json').write_text(json.dumps(document))
  offline, told = {}, {}
  for video_id in seen:
    rows = np.load(folder / 'features' / f'{video_id}.npy')
    offline[video_id] = model.propose(rows)
    stream = model.stream()
    parts = [stream.push(rows[k : k + 9]) for k in range(0, len(rows), 9)]
    told[video_id] = told_lib.joined([*parts, stream.flush()])
  recalls = [
    cmsn_jax.evaluate(
      found, str(tmp_path / 'seen.json'), 'training', protocol='top_k'
    )
    for found in (offline, told)
  ]
  assert recalls[1].ar_at_an[50] > recalls[0].ar_at_an[50] - 0.05
  assert recalls[0].ar_at_an[50] > 0.5
