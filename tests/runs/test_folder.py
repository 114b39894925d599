import errno
import json

import pytest

from cmsn_jax.runs import config_record, folder
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
    config_record.RunFolderError, match="has the phases joint, no 'stages'"
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
