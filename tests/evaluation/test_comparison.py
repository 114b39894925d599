from cmsn_jax.evaluation import comparison


def _row(chain='bmn', **changes):
  values = {
    'chain': chain,
    'ar_at_an': {10: 0.12345, 200: None},
    'parameters': 1_234_567,
    'train_cpu_sec': 61.6,
    'propose_cpu_sec_per_hour': 2.345,
    'train_peak_bytes': 1_500_000_000,
    'propose_peak_bytes': 700_000_000,
    'num_videos': 3,
    'num_ground_truth': 40,
    'num_proposals': 900,
    'protocol': 'top_k',
    'subset': 'testing',
  }
  return comparison.Row(**(values | changes))


def test_a_table_has_a_row_a_chain_and_says_what_it_is_of():
  text = comparison.table([_row(), _row('tag', subset='')], (10, 200))
  lines = text.splitlines()
  assert lines[0] == (
    '| chain | AR@10 | AR@200 | mAP | parameters | training, CPU s | '
    'proposing, CPU s an hour | peak memory, training / proposing |'
  )
  assert lines[1].count('---') == lines[0].count('|') - 1
  assert lines[2] == (
    '| bmn | 0.123 | - | - | 1,234,567 | 62 | 2.3 | 1.50 / 0.70 GB |'
  )
  assert lines[3].startswith('| tag |')
  named = comparison.table([_row(average_map=0.9876)], (10, 200))
  assert '| 0.123 | - | 0.988 | 1,2' in named
  assert lines[-1] == (
    "protocol top_k, subset 'testing': 3 videos, 40 instances"
  )


def test_rows_survive_their_file():
  row = _row()
  assert comparison.Row.from_json('bmn', row.to_json()) == row
  before = row.to_json()
  del before['average_map']
  assert comparison.Row.from_json('bmn', before) == row
  known = row.to_json() | {'of_a_later_version': 1}
  assert comparison.Row.from_json('x', known).chain == 'x'


def test_no_row_is_a_head_alone():
  assert len(comparison.table([], (1,)).splitlines()) == 2
