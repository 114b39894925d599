"""Still timelines: rows, times, what is drawn, and files."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from cmsn_jax import stage_names
from cmsn_jax.report import timelines


def _spans(*rows):
  return np.array(rows, np.float64).reshape(-1, 2)


def _example(**changes):
  rng = np.random.default_rng(0)
  arguments = {
    'true_segments': _spans([2, 5], [4, 9]),
    'labels': ('rear', '$x_'),
    'probabilities': rng.dirichlet(np.ones(6), 40).astype(np.float32),
    'feature_fps': 4.0,
    'proposals': _spans([2, 5], [1, 6], [7, 9]),
    'scores': np.array([0.9, 0.5, 0.1]),
  }
  return timelines.figure('clip $1$', 10.0, **(arguments | changes))


def test_a_notebook_shows_the_picture():
  assert _example()._repr_png_().startswith(b'\x89PNG')


def test_lanes_by_hand():
  # Touching spans share a row; the best stays on top.
  found = timelines.lanes(_spans([0, 2], [1, 3], [2, 4], [0.5, 1], [3, 5]))
  np.testing.assert_array_equal(found, [0, 1, 0, 1, 1])
  assert timelines.lanes(_spans()).shape == (0,)


@hypothesis.given(
  st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 20)), max_size=25)
)
@hypothesis.settings(max_examples=50)
def test_lanes_never_overlap(pairs):
  spans = np.array([[s, s + d] for s, d in pairs], np.float64).reshape(-1, 2)
  rows = timelines.lanes(spans)
  for i in range(len(spans)):
    for j in range(i):
      if rows[i] == rows[j]:
        assert spans[i, 0] >= spans[j, 1] or spans[j, 0] >= spans[i, 1]


@pytest.mark.parametrize(
  'seconds, text',
  [
    (0, '0:00'),
    (75.25, '1:15.2'),
    (59.96, '1:00'),
    (3600, '1:00:00'),
    (3725.5, '1:02:05.5'),
    (-3, '-0:03'),
  ],
)
def test_clock(seconds, text):
  assert timelines.clock(seconds) == text


def test_tracks_and_their_content():
  figure = _example()
  truth, stages, proposals = figure.axes
  assert [axis.get_ylabel() for axis in figure.axes] == [
    'Ground truth',
    'Stages',
    'Top 3\nproposals',
  ]
  bars = [(bar.get_x(), bar.get_width()) for bar in proposals.patches]
  assert bars == [(2.0, 3.0), (1.0, 5.0), (7.0, 2.0)]
  # Fainter with a lower score.
  alphas = [bar.get_facecolor()[3] for bar in proposals.patches]
  assert alphas == sorted(alphas, reverse=True)
  assert {text.get_text() for text in truth.texts} == {'rear', '$x_'}
  assert len(stages.collections) == stage_names.COUNT
  assert proposals.get_xlim() == (0, 10)


@pytest.mark.parametrize(
  'missing', ['true_segments', 'probabilities', 'proposals']
)
def test_each_track_may_be_left_out(missing):
  assert len(_example(**{missing: None}).axes) == 2


def test_top_and_empty_tracks():
  figure = _example(top=1, true_segments=_spans(), labels=())
  assert len(figure.axes[2].patches) == 1
  figure = _example(proposals=_spans(), scores=np.zeros(0))
  assert len(figure.axes[2].patches) == 0


@pytest.mark.parametrize(
  'suffix, start', [('png', b'\x89PNG'), ('svg', b'<?xml')]
)
def test_files_are_whole_and_repeat(tmp_path, suffix, start):
  first, second = tmp_path / f'a.{suffix}', tmp_path / f'b.{suffix}'
  timelines.save(_example(), first)
  timelines.save(_example(), second)
  assert first.read_bytes().startswith(start)
  if suffix == 'png':
    assert first.read_bytes() == second.read_bytes()
  assert sorted(p.name for p in tmp_path.iterdir()) == [first.name, second.name]


def test_errors_name_what_is_wrong(tmp_path):
  with pytest.raises(ValueError, match='duration_sec must be > 0, got 0'):
    timelines.figure('x', 0.0, proposals=_spans([0, 1]))
  with pytest.raises(ValueError, match='need feature_fps'):
    _example(feature_fps=None)
  with pytest.raises(ValueError, match='nothing to draw'):
    timelines.figure('x', 5.0)
  with pytest.raises(ValueError, match=r'cannot write \.docx'):
    timelines.save(_example(), tmp_path / 'a.docx')
