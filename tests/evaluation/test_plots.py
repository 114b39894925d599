"""The metrics' curves end up as PNG files, whatever there is to draw."""

import matplotlib.figure
import numpy as np
import pytest

from cmsn_jax.evaluation import metrics, plots

_PNG = b'\x89PNG\r\n\x1a\n'


def _result(protocol='thumos', found=True):
  truth = {'a_$x$': np.array([[0.0, 4.0], [6.0, 9.0]])}
  proposals = {}
  if found:
    segments = np.array([[0.0, 3.0], [6.0, 9.0], [0.0, 4.0]])
    proposals['a_$x$'] = segments, np.array([0.9, 0.8, 0.1])
  return metrics.evaluate(proposals, truth, protocol=protocol, ans=(1, 3, 50))


@pytest.mark.parametrize('draw', [plots.ar_an_curve, plots.recall_tiou_curve])
@pytest.mark.parametrize('protocol', metrics.PROTOCOLS)
@pytest.mark.parametrize('found', [True, False])
def test_writes_a_png(tmp_path, draw, protocol, found):
  path = tmp_path / 'curve.png'
  path.write_text('old')
  draw(_result(protocol, found), path)
  assert path.read_bytes().startswith(_PNG)
  assert [p.name for p in tmp_path.iterdir()] == ['curve.png']


def test_curves_show_the_figures(tmp_path, monkeypatch):
  figures = []
  save = matplotlib.figure.Figure.savefig

  def keep(self, *args, **kwargs):
    figures.append(self)
    save(self, *args, **kwargs)

  monkeypatch.setattr(matplotlib.figure.Figure, 'savefig', keep)
  result = _result('thumos')
  plots.ar_an_curve(result, tmp_path / 'a.png')
  plots.recall_tiou_curve(result, tmp_path / 'b.png')
  curve, *dots = figures[0].axes[0].lines
  np.testing.assert_allclose(curve.get_xdata()[1:], result.curve_an)
  np.testing.assert_allclose(curve.get_ydata()[1:], result.curve_ar)
  assert len(dots) == 2  # AN 50 does not exist
  assert dots[0].get_ydata()[0] == result.ar_at_an[1]
  recall = figures[1].axes[0].lines[0]
  np.testing.assert_allclose(
    recall.get_ydata(), list(result.recall_at_tiou.values())
  )
