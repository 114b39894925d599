import pytest

from cmsn_jax.settings import ablations
from cmsn_jax.training import config_checks
from configs import custom, rat_social


@pytest.mark.parametrize('table', sorted(ablations.TABLES))
def test_every_row_changes_keys_that_are_there(table):
  base = custom if table == 'plus' else rat_social
  assert base.get_config().chain == ablations.TABLES[table].chain
  names = set()
  for row in ablations.TABLES[table].rows:
    config = base.get_config()
    config.update_from_flattened_dict({**row.changes, **row.at_inference})
    config_checks.check(config)
    names.add(row.name)
  assert len(names) == len(ablations.TABLES[table].rows)
