import errno
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from cmsn_jax.runs import checkpoints, config_record, folder
from cmsn_jax.settings import default
from configs import custom


def test_two_runs_in_one_workdir_are_refused(tmp_path):
  with folder.locked(tmp_path):
    with pytest.raises(
      config_record.RunFolderError, match='another run is using'
    ):
      with folder.locked(tmp_path):
        pass
  with folder.locked(tmp_path):
    pass


def test_no_model_yet(tmp_path):
  with pytest.raises(config_record.RunFolderError, match='no trained model'):
    folder.read_best(tmp_path)


def test_a_phase_of_another_chain_is_named(tmp_path):
  config = config_record.to_json(custom.get_config())
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(
    config_record.RunFolderError,
    match="has the phases joint, student, no 'stages'",
  ):
    folder.read_best(tmp_path, 'stages')


def test_a_full_disk_says_what_is_kept(tmp_path):
  (tmp_path / 'stages' / 'resume' / '12').mkdir(parents=True)
  with pytest.raises(folder.DiskError, match='kept are stages step 12'):
    with folder.disk_errors_explained(tmp_path):
      raise OSError(errno.ENOSPC, 'No space left on device')
  with pytest.raises(OSError, match='other'):
    with folder.disk_errors_explained(tmp_path):
      raise OSError(errno.EACCES, 'other')


def _keep(workdir, phase, step, value):
  manager = checkpoints.Checkpoints(workdir / phase / 'best')
  manager.save(step, {'params': {phase: np.full(2, value)}}, {'phase': phase})
  manager.close()


def _begin(workdir, config):
  (workdir / 'config.json').write_text(
    json.dumps(config_record.to_json(config))
  )


def test_the_last_phase_that_kept_anything_is_read(tmp_path):
  _begin(tmp_path, default.get_config())
  _keep(tmp_path, 'stages', 5, 1.0)
  assert folder.read_best(tmp_path).meta['phase'] == 'stages'
  _keep(tmp_path, 'evaluator', 3, 2.0)
  assert folder.read_best(tmp_path).meta['phase'] == 'evaluator'
  assert folder.read_best(tmp_path, 'stages').step == 5


def test_what_another_chain_left_is_not_read(tmp_path):
  # The folder of a phase that the config's chain does not have.
  _begin(tmp_path, default.get_config())
  _keep(tmp_path, 'joint', 5, 1.0)
  with pytest.raises(config_record.RunFolderError, match='evaluator or stages'):
    folder.read_best(tmp_path)


def test_a_run_of_version_0_1_is_read(tmp_path):
  saved = pathlib.Path(__file__).parent / 'configs_0_1.json'
  both = json.loads(saved.read_text())
  (tmp_path / 'config.json').write_text(json.dumps(both['template']))
  _keep(tmp_path, 'joint', 7, 3.0)
  found = folder.read_best(tmp_path)
  assert found.step == 7
  np.testing.assert_array_equal(found.tree['params']['joint'], [3.0, 3.0])


def test_the_config_of_a_classifier_has_no_phases(tmp_path):
  (tmp_path / 'config.json').write_text('{"train": {"epochs": 3}}')
  with pytest.raises(config_record.RunFolderError, match='no trained model'):
    folder.read_best(tmp_path)


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_of_a_failing_disk_the_way_on_is_said(tmp_path, number):
  with pytest.raises(folder.DiskError, match='no checkpoints yet.*goes on'):
    with folder.disk_errors_explained(tmp_path):
      raise OSError(number, 'disk')


def test_another_process_is_kept_out(tmp_path):
  code = (
    'import pathlib, sys\n'
    'from cmsn_jax.runs import folder\n'
    'try:\n'
    f'  with folder.locked(pathlib.Path({str(tmp_path)!r})):\n'
    '    print("taken")\n'
    'except ValueError as error:\n'
    '  print(error)\n'
  )
  root = pathlib.Path(__file__).resolve().parents[2]
  with folder.locked(tmp_path):
    done = subprocess.run(
      [sys.executable, '-c', code], cwd=root, capture_output=True, text=True,
      timeout=120,
    )  # fmt: skip
  assert 'another run is using' in done.stdout, done.stderr
  with folder.locked(tmp_path):
    pass
