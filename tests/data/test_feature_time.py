"""Training, proposing and export where a video's time is not the grid's."""

import json

import numpy as np
import pytest

from cmsn_jax.chains import prediction
from cmsn_jax.data import opening, sources
from cmsn_jax.files import feature_files, feature_resampled, proposal_files
from cmsn_jax.proposing import corpus, exported
from cmsn_jax.runs import trained as trained_lib
from configs import custom

# Instances as shares of the video, the same in every video's own time.
_SHARES = ((0.1, 0.3), (0.5, 0.8))


def write(folder, videos, entries=None, sidecar=None):
  """`videos`: id -> (duration, times of the rows)."""
  (folder / 'features').mkdir(parents=True)
  database = {}
  rng = np.random.default_rng(0)
  for number, (video_id, (duration, times)) in enumerate(videos.items()):
    inside = np.zeros(len(times))
    for start, end in _SHARES:
      inside += (times >= start * duration) & (times < end * duration)
    rows = np.stack([inside, 1 - inside, times / duration], 1)
    rows += rng.normal(size=rows.shape) * 0.01
    np.save(folder / 'features' / f'{video_id}.npy', rows.astype(np.float32))
    database[video_id] = {
      'subset': 'validation' if number == 0 else 'training',
      'duration': duration,
      'annotations': [
        {'segment': [a * duration, b * duration], 'label': 'x'}
        for a, b in _SHARES
      ],
      **(entries or {}).get(video_id, {}),
    }
  (folder / 'labels.json').write_text(json.dumps({'database': database}))
  if sidecar:
    (folder / 'features' / 'features.json').write_text(json.dumps(sidecar))
  config = custom.get_config()
  config.data.annotations = str(folder / 'labels.json')
  config.data.features = str(folder / 'features')
  config.data.pool = 1
  config.data.standardize = False
  return config


def shares(data, video_id):
  """Which snippets are in an instance, by the grid and by the features."""
  source = data.source
  total = source.num_snippets(video_id)
  centres = (np.arange(total) + 0.5) / source.feature_fps
  segments = data.grid_segments(video_id)
  inside = np.zeros(total, bool)
  for start, end in segments:
    inside |= (centres >= start) & (centres < end)
  rows = source.read(video_id, 0, total)
  return inside, rows[:, 0] > 0.5


def check(data):
  for video_id in data.train:
    inside, seen = shares(data, video_id)
    # A row on the border may fall to either side.
    assert (inside != seen).sum() <= 4, video_id
    clock = sources.clock(data.source, video_id)
    segments = data.train[video_id].segments
    np.testing.assert_allclose(clock.to_sec(clock.to_grid(segments)), segments)


def rescaled(folder, **changes):
  videos = {
    f'v{k}': (duration, (np.arange(100) + 0.5) / 100 * duration)
    for k, duration in enumerate([40.0, 90.0, 150.0, 70.0])
  }
  return write(folder, videos, **changes)


def windowed(folder):
  # 16 frames of 30 a second, every 4: T = (N - 16) // 4 + 1.
  videos = {}
  for k, frames in enumerate([300, 451, 600]):
    starts = np.arange(0, frames - 16 + 1, 4)
    videos[f'v{k}'] = frames / 30, (starts + 8) / 30
  return write(folder, videos, {v: {'fps': 30} for v in videos})


def two_rates(folder, stated='entry'):
  videos, entries = {}, {}
  for k, (duration, rate) in enumerate(
    [(60, 7.5), (90, 6.25), (80.0, 6.25), (70, 7.5)]
  ):
    rows = round(duration * rate)
    videos[f'v{k}'] = float(duration), (np.arange(rows) + 0.5) / rate
    entries[f'v{k}'] = {'feature_fps': rate}
  if stated == 'entry':
    return write(folder, videos, entries)
  rates = {k: entry['feature_fps'] for k, entry in entries.items()}
  return write(folder, videos, sidecar={'feature_fps': rates})


def test_rescaled_features(tmp_path):
  config = rescaled(tmp_path)
  with pytest.raises(ValueError, match='rate of the features is unknown'):
    opening.open_features(config)
  config.data.feature_fps = 1.2
  with pytest.raises(ValueError, match='stretched to one length.*rescaled'):
    opening.open_features(config)
  config.data.feature_fps = 0.0
  config.data.rescaled = True
  data = opening.open_features(config)
  check(data)
  np.testing.assert_allclose(
    data.grid_segments('v1') * data.source.feature_fps,
    np.array(_SHARES) * 100,
  )


def test_rescaled_as_the_sidecar_says(tmp_path):
  check(opening.open_features(rescaled(tmp_path, sidecar={'rescaled': True})))


def test_rescaled_and_pooled(tmp_path):
  config = rescaled(tmp_path)
  config.data.rescaled, config.data.pool = True, 3
  data = opening.open_features(config)
  assert data.source.num_snippets('v1') == 34
  check(data)
  np.testing.assert_allclose(
    data.grid_segments('v2') * data.source.feature_fps,
    np.array(_SHARES) * 100 / 3,
  )


def test_windows_longer_than_their_step(tmp_path):
  config = windowed(tmp_path)
  config.data.feature_fps = 7.5
  with pytest.raises(ValueError, match='3.[0-9] rows short.*feature_window'):
    opening.open_features(config)
  config.data.feature_window, config.data.feature_stride = 16.0, 4.0
  data = opening.open_features(config)
  assert data.source.feature_fps == 7.5
  np.testing.assert_allclose(
    data.grid_segments('v1'), data.train['v1'].segments - 6 / 30
  )
  check(data)
  config.data.feature_fps = 0.0  # from the annotations' fps and the stride
  assert opening.open_features(config).source.feature_fps == 7.5


@pytest.mark.parametrize('stated', ['entry', 'sidecar'])
def test_cameras_of_two_rates(stated, tmp_path):
  data = opening.open_features(two_rates(tmp_path, stated))
  assert data.source.feature_fps == 6.25
  assert data.source.num_snippets('v3') == round(70 * 6.25)
  check(data)


def test_resampled_rows_are_those_of_their_time(tmp_path):
  times = (np.arange(300) + 0.5) / 30
  np.save(tmp_path / 'a.npy', times[:, None])
  store = feature_files.open_features(tmp_path)
  for fps, shift in ((25, 0.0), (10, 0.0), (40, 0.0), (25, 1.5)):
    found = feature_resampled.ResampledStore(store, fps, {'a': 30}, shift)
    rows = found.read('a')
    # Row i of the file is centred at (shift + i + .5) / 30 of the video.
    wanted = (np.arange(len(rows)) + 0.5 + shift) / fps - shift / 30
    inside = (wanted > times[1]) & (wanted < times[-2])
    np.testing.assert_allclose(rows[inside, 0], wanted[inside], atol=3e-3)
    np.testing.assert_array_equal(found.read('a', 3, 9), rows[3:9])
    assert len(found.read('a', 5, 5)) == 0


class _Echo(prediction.Predictor):
  """Proposes what the first feature says."""

  def __init__(self):
    pass

  def propose(self, source, video_ids, on_error=None):
    for video_id in video_ids:
      total = source.num_snippets(video_id)
      inside = source.read(video_id, 0, total)[:, 0] > 0.5
      edges = np.flatnonzero(np.diff(np.r_[0, inside, 0]))
      segments = edges.reshape(-1, 2) / source.feature_fps
      stages = np.zeros((total, 6))
      stages[:, 3] = inside
      clock = sources.clock(source, video_id)
      yield (
        video_id,
        prediction.Prediction(
          proposal_files.Proposals(
            clock.to_sec(segments), np.ones(len(segments))
          ),
          stages,
        ),
      )


@pytest.mark.parametrize('make', [rescaled, windowed, two_rates])
def test_propose_gives_the_video_s_seconds(make, tmp_path, monkeypatch):
  config = make(tmp_path)
  if make is rescaled:
    config.data.rescaled = True
  if make is windowed:
    config.data.feature_window, config.data.feature_stride = 16.0, 4.0
  config.data.standardize = False
  data = opening.open_features(config)
  about = trained_lib.describe_data(data)
  assert json.loads(json.dumps(about)) == about
  trained = trained_lib.Trained(_Echo(), config, about, None, 'x')
  monkeypatch.setattr(corpus.trained_lib, 'load', lambda *unused: trained)
  output = tmp_path / 'p.json'
  failures = corpus.propose(
    tmp_path, config.data.features, output, annotations=config.data.annotations,
    save_stages=str(tmp_path / 'stages'), quiet=True,
  )  # fmt: skip
  assert not failures
  found = json.loads(output.read_text())['results']
  for video_id, video in data.annotations.videos.items():
    segments = sorted(row['segment'] for row in found[video_id])
    slack = 1.5 * video.duration_sec / data.source.num_snippets(video_id)
    np.testing.assert_allclose(segments, video.segments, atol=slack)
    with np.load(tmp_path / 'stages' / f'{video_id}.npz') as stages:
      rate, rows = float(stages['feature_fps']), stages['probabilities']
    inside = np.flatnonzero(rows[:, 3] > 0.5) / rate
    assert abs(inside[0] - video.segments[0, 0]) < slack
  if make is rescaled:
    failures = corpus.propose(
      tmp_path, config.data.features, tmp_path / 'q.json', quiet=True
    )
    assert len(failures) == 4 and 'duration is needed' in failures['v0']


def test_an_exported_model_gives_the_video_s_seconds():
  about = {
    'file_dim': 2, 'file_fps': 2.0, 'pool': 1, 'rescaled': True,
    'config': {'data': {'pool_deviation': False}},
  }  # fmt: skip
  features = np.zeros((100, 2), np.float32)
  features[10:30, 0] = 1
  model = exported.ExportedModel(about, {}, _Echo(), None)
  segments, _ = model.propose(features, 50.0)
  np.testing.assert_allclose(segments, [[5, 15]])
  with pytest.raises(ValueError, match='give duration_sec'):
    model.propose(features)
  about = {**about, 'rescaled': False, 'offset_sec': 0.25}
  model = exported.ExportedModel(about, {}, _Echo(), None)
  np.testing.assert_allclose(model.propose(features).segments, [[5.25, 15.25]])
  # Exports of before know nothing of either.
  del about['rescaled'], about['offset_sec']
  model = exported.ExportedModel(about, {}, _Echo(), None)
  np.testing.assert_allclose(model.propose(features).segments, [[5, 15]])
