"""Final lists of whole files: exactly the bouts, and nothing where none is."""

import numpy as np
import pytest

from cmsn_jax.chains import prediction
from cmsn_jax.files import proposal_files
from cmsn_jax.proposing import corpus
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.suppression import final_list

_FPS, _HOUR = 1.0, 3600
_BOUTS = np.array(
  [[100.0, 130], [700, 720], [1500, 1560], [2500, 2530], [3400, 3425]]
)


class _Made(prediction.Predictor):
  """400 proposals a video, as a trained chain gives: copies and noise."""

  def __init__(self):
    """Without networks."""

  def propose(self, source, video_ids, on_error=None):
    rng = np.random.default_rng(0)
    for video_id in video_ids:
      features = source.read(video_id, 0, source.num_snippets(video_id))
      starts = rng.uniform(0, _HOUR - 60, 400)
      segments = [np.stack([starts, starts + rng.uniform(5, 60, 400)], 1)]
      scores = [rng.uniform(0, 0.2, 400)]
      edges = np.diff(np.pad(features[:, 0] > 0, 1).astype(int))
      bouts = np.stack([np.nonzero(edges > 0)[0], np.nonzero(edges < 0)[0]], 1)
      for shift in (0, 4, -4):
        segments.append(bouts / _FPS + shift)
        scores.append(np.full(len(bouts), 0.9 - 0.1 * abs(shift)))
      found = proposal_files.Proposals(
        np.concatenate(segments).astype(np.float64), np.concatenate(scores)
      )
      yield video_id, prediction.Prediction(found.best_first(), None)


class _Silent(prediction.Predictor):
  def __init__(self):
    """Without networks."""

  def propose(self, source, video_ids, on_error=None):
    assert not list(video_ids)
    return iter(())


@pytest.fixture
def hours(tmp_path):
  """A sparse and an empty hour; a run that finds what is above 0."""
  from tests.chains.toy import recipe

  folder = tmp_path / 'features'
  folder.mkdir()
  inside = np.zeros((_HOUR, 2), np.float32)
  for start, end in _BOUTS.astype(int):
    inside[start:end] = 1
  np.save(folder / 'sparse.npy', inside)
  np.save(folder / 'empty.npy', np.zeros_like(inside))
  data = {'file_fps': _FPS, 'file_dim': 2, 'pool': 1, 'feature_fps': _FPS}
  run = trained_lib.Trained(
    _Made(), recipe.get_config(), data, None, 'a1b2c3d4e5f60718'
  )
  return folder, run


def _propose(hours, output, settings):
  folder, run = hours
  assert not corpus.propose(
    run, str(folder), output, settings=settings, feature_fps=_FPS, quiet=True
  )
  return proposal_files.read(output)


def test_exactly_the_bouts_and_nothing(hours, tmp_path):
  settings = final_list.Settings(min_score=0.45, non_overlapping=True)
  found = _propose(hours, tmp_path / 'p.json', settings)
  order = np.argsort(found['sparse'].segments[:, 0])
  np.testing.assert_array_equal(found['sparse'].segments[order], _BOUTS)
  # Scores stay what they were.
  np.testing.assert_array_equal(found['sparse'].scores, [0.9] * 5)
  assert found['empty'].segments.shape == (0, 2)


@pytest.mark.parametrize(
  ('settings', 'silent', 'warned'),
  [
    (
      final_list.NO_LIMITS,
      True,
      'nothing is proposed for 1 of 2 videos: empty',
    ),
    (final_list.Settings(min_score=2), False, 'final list: 0 of 415 proposals'),
    (final_list.Settings(min_score=0.85), False, ''),
  ],
)
def test_an_empty_list_is_said_to_be_of_the_model_or_of_the_limits(
  hours, tmp_path, caplog, settings, silent, warned
):
  folder, run = hours
  made = run.predictor.propose

  def propose(source, video_ids, on_error=None):
    for video_id, found in made(source, video_ids):
      none = video_id == 'empty' and silent
      yield video_id, found.take(np.arange(0)) if none else found

  run.predictor.propose = propose
  if not silent:
    (folder / 'empty.npy').unlink()
  with caplog.at_level('WARNING'):
    _propose(hours, tmp_path / 'p.json', settings)
  assert (
    [r.getMessage() for r in caplog.records] == []
    if not warned
    else (warned in caplog.text and len(caplog.records) == 1)
  )


def test_so_many_a_minute(hours, tmp_path):
  found = _propose(
    hours, tmp_path / 'p.json', final_list.Settings(max_per_minute=0.05)
  )
  assert [len(v.scores) for v in found.values()] == [3, 3]


def test_another_limit_is_made_anew_and_the_same_is_not(hours, tmp_path):
  output = tmp_path / 'p.json'
  whole = _propose(hours, output, final_list.NO_LIMITS)
  assert len(whole['empty'].scores) == 400
  limited = final_list.Settings(min_score=0.5)
  assert len(_propose(hours, output, limited)['sparse'].scores) == 15
  folder, run = hours
  # Nobody is asked again.
  done = _propose((folder, run._replace(predictor=_Silent())), output, limited)
  assert done.keys() == whole.keys()
