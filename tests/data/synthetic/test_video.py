"""Rendered videos: repeatable, real h264, motion where the truth says so."""

import filecmp

import numpy as np
import pytest

from cmsn_jax.annotations import activitynet
from cmsn_jax.data.synthetic import script
from cmsn_jax.data.synthetic import video as synthetic_video
from cmsn_jax.video import decoding


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  folder = tmp_path_factory.mktemp('made')
  path = synthetic_video.generate(
    folder, num_videos=4, duration_sec=25.0, seed=1, size=(32, 44)
  )
  return folder, activitynet.read(path)


def test_same_seed_same_files(made, tmp_path):
  folder, _ = made
  synthetic_video.generate(
    tmp_path, num_videos=4, duration_sec=25.0, seed=1, size=(32, 44)
  )
  files = [f'videos/video_{i:03d}.mp4' for i in range(4)]
  for file in ('annotations.json', *files):
    assert filecmp.cmp(folder / file, tmp_path / file, shallow=False)
  assert len({(folder / file).read_bytes() for file in files}) == 4
  assert not list(tmp_path.glob('**/*.tmp'))


def test_files_agree_with_the_annotations(made):
  folder, truth = made
  assert [len(truth.subset(s)) for s in activitynet.SUBSETS] == [2, 1, 1]
  rates = set()
  for video_id, entry in truth.videos.items():
    info = decoding.probe(folder / 'videos' / f'{video_id}.mp4')
    assert (info.codec, info.height, info.width) == ('h264', 32, 44)
    assert info.duration_sec == pytest.approx(entry.duration_sec, abs=1e-6)
    rates.add(round(info.fps, 3))
    frames = decoding.read(folder / 'videos' / f'{video_id}.mp4', fps=10)
    assert len(frames) == pytest.approx(10 * entry.duration_sec, abs=1)
  assert rates == {10, 12, 15}


def event(kind):
  return script.Event(kind, 4.0, 8.0, 2.0, 2.0, 1.0)


def tracked(kind):
  """(times, track, distance to the place) of one event; no wandering left."""
  times = np.arange(0, 12, 0.05)
  home, place = np.array([0.2, 0.2]), np.array([0.5, 0.6])
  tracks = [
    synthetic_video.track(events, times, home, place, np.random.default_rng(0))
    for events in ([event(kind)], [])
  ]
  distance = np.linalg.norm(tracks[0][:, :2] - place, axis=1)
  return times, tracks[0], tracks[1], distance


@pytest.mark.parametrize('kind', [*script.LABELS, *script.DISTRACTORS])
def test_what_an_actor_does(kind):
  times, track, idle, distance = tracked(kind)
  away = (times < 2) | (times >= 10)
  inside = (times >= 4) & (times < 8)
  assert np.array_equal(track[away], idle[away])
  speed = np.abs(np.diff(track[inside], axis=0)).sum(axis=1)
  if kind == 'twitch':  # stays away
    assert distance.min() > 0.25
  else:
    assert distance[inside].max() < 0.2
    come, go = (times >= 2.2) & (times < 3.9), (times >= 8.1) & (times < 9.8)
    assert (np.diff(distance[come]) < 0.01).all()
    assert (np.diff(distance[go]) > -0.01).all()
  if kind == 'pause':
    assert np.allclose(speed, 0)
  elif kind == 'pass':
    assert speed.max() < 0.01
  else:
    assert speed.mean() > 0.01


def test_an_actor_that_is_called_back_turns_round():
  times = np.arange(0, 12, 0.05)
  one = script.Event('shake', 2.0, 4.0, 1.0, 2.0, 1.0)
  two = script.Event('shake', 6.0, 8.0, 1.0, 2.0, 1.0)
  track = synthetic_video.track(
    [one, two],
    times,
    np.array([0.0, 0.0]),
    np.array([0.5, 0.5]),
    np.random.default_rng(0),
  )
  between = (times > 4.1) & (times < 5.9)
  jumps = np.abs(np.diff(track[between, 0]))
  assert jumps.max() < 0.05 and track[between, 0].min() < 0.35


def test_the_picture_moves_more_inside_actions():
  """Frame differences at the place are largest where the truth says so."""
  times = np.arange(0, 12, 0.1)
  rng = np.random.default_rng(3)
  frames = np.stack(
    list(synthetic_video.render([event('shake')], times, (64, 84), rng))
  )
  assert frames.shape == (120, 64, 84, 3) and frames.dtype == np.uint8
  change = np.abs(np.diff(frames.astype(float), axis=0))[:, 16:48, 21:63]
  change = change.mean(axis=(1, 2, 3))
  inside = (times[1:] >= 4) & (times[1:] < 8)
  still = (times[1:] < 2) | (times[1:] >= 10)
  assert change[inside].mean() > 1.5 * change[still].mean()


@pytest.mark.parametrize(
  'arguments, message',
  [
    ({'size': (31, 40)}, 'size must be even'),
    ({'size': (64, 41)}, 'size must be even'),
    ({'num_videos': 1}, 'num_videos must be at least 3'),
    ({'duration_sec': 1.0}, 'duration_sec must be at least 20'),
  ],
)
def test_bad_arguments(tmp_path, arguments, message):
  with pytest.raises(ValueError, match=message):
    synthetic_video.generate(tmp_path, **arguments)
