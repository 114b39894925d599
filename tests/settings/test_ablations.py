import pytest

from cmsn_jax.settings import ablations
from cmsn_jax.training import config_checks
from configs import custom, rat_social


@pytest.mark.parametrize('table', sorted(ablations.TABLES))
def test_every_row_changes_keys_that_are_there(table):
  base = custom if table in ('plus', 'low_data') else rat_social
  assert base.get_config().chain == ablations.TABLES[table].chain
  names = set()
  for row in ablations.TABLES[table].rows:
    config = base.get_config()
    config.update_from_flattened_dict({**row.changes, **row.at_inference})
    config_checks.check(config)
    names.add(row.name)
  assert len(names) == len(ablations.TABLES[table].rows)


def test_little_data_are_shown_with_three_seeds():
  table = ablations.TABLES['low_data']
  assert table.seeds == 3 and ablations.TABLES['plus'].seeds == 1
  shares = [row.changes.get('data.train_share', 1.0) for row in table.rows]
  assert shares == [0.1, 0.25, 1.0]
