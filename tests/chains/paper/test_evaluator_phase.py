import jax
import numpy as np
import pytest

from cmsn_jax.candidates import runs
from cmsn_jax.chains import protocol, registry
from cmsn_jax.chains.paper import evaluator_phase
from cmsn_jax.data import opening
from configs import rat_social


def test_a_stage_network_without_candidates_stops_the_evaluator(
  tmp_path, monkeypatch
):
  config = rat_social.get_config('smoke')
  config.data.annotations = 'generated:5x40'
  config.windows.length = 32
  data = opening.open_data(config, tmp_path)
  predictor = registry.predictor(config, {})
  params = predictor.networks.init_stages(
    jax.random.key(0), config.windows.length, data.source.snippet_shape
  )
  monkeypatch.setattr(
    predictor.__class__,
    'candidates',
    lambda self, probabilities: runs.generate(
      np.zeros(len(probabilities), np.int32)
    ),
  )
  phase = evaluator_phase.evaluator(
    protocol.Job(
      config, data, predictor, 1, tmp_path, lambda name: {name: params}, True
    )
  )
  # Known without work: what a finished phase is left by.
  assert phase.plan(7).steps == 7 and phase.windows
  with pytest.raises(
    evaluator_phase.NoCandidatesError, match='no candidate in any'
  ):
    phase.prepare()
