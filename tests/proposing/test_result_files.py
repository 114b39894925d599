import json

import numpy as np
import pytest

from cmsn_jax.files import proposal_files
from cmsn_jax.proposing import result_files


def _proposals(start):
  return proposal_files.Proposals(
    np.array([[start, start + 1.5], [0.0, 9.0]]), np.array([0.9, 0.1])
  )


def _equal(a, b):
  np.testing.assert_array_equal(a.segments, b.segments)
  np.testing.assert_array_equal(a.scores, b.scores)


def test_what_was_done_before_a_kill_is_there_after_it(tmp_path):
  output = tmp_path / 'p.json'
  first = result_files.Results(output, 'abc')
  first.add('a', _proposals(1.0))
  first.add('b', _proposals(2.0))
  # A kill in the middle of a line.
  partial = tmp_path / 'p.json.partial.jsonl'
  with open(partial, 'a') as file:
    file.write('{"model": "abc", "video": "c", "segm')
  again = result_files.Results(output, 'abc')
  assert set(again.done) == {'a', 'b'}
  _equal(again.done['b'], _proposals(2.0))
  again.add('c', _proposals(3.0))
  third = result_files.Results(output, 'abc')
  assert set(third.done) == {'a', 'b', 'c'}
  third.finish()
  assert not partial.exists()
  assert json.loads(output.read_text())['external_data']['model'] == 'abc'
  _equal(proposal_files.read(output)['c'], _proposals(3.0))
  assert set(result_files.Results(output, 'abc').done) == {'a', 'b', 'c'}


def test_a_missing_folder_is_made(tmp_path):
  output = tmp_path / 'new' / 'folder' / 'p.json'
  first = result_files.Results(output, 'abc')
  first.add('a', _proposals(1.0))
  first.finish()
  assert set(proposal_files.read(output)) == {'a'}


def test_results_of_another_model_are_not_taken_over(tmp_path):
  output = tmp_path / 'p.json'
  old = result_files.Results(output, 'abc')
  old.add('a', _proposals(1.0))
  assert not result_files.Results(output, 'def').done
  old.finish()
  assert not result_files.Results(output, 'def').done


def test_another_input_needs_append(tmp_path):
  output = tmp_path / 'p.json'
  day1, day2 = str(tmp_path / 'day[1], a'), str(tmp_path / 'day2')
  first = result_files.Results(output, 'abc', [day1])
  first.add('a', _proposals(1.0))
  message = rf'p.json holds 1 videos of .*day\[1\], a, the input is now {day2};'
  # Before it is finished, and after.
  with pytest.raises(ValueError, match=message):
    result_files.Results(output, 'abc', [day2])
  first.finish()
  with pytest.raises(ValueError, match=message):
    result_files.Results(output, 'abc', [day2])
  # The same folder by another name, and another model.
  assert result_files.Results(output, 'abc', [f'{day1}/../day[1], a/']).done
  assert not result_files.Results(output, 'def', [day2]).done
  both = result_files.Results(output, 'abc', [day2], append=True)
  both.add('b', _proposals(2.0))
  both.finish()
  assert result_files.inputs_of(output) == [day1, day2]
  assert set(proposal_files.read(output)) == {'a', 'b'}
  for path in (day1, day2):
    assert set(result_files.Results(output, 'abc', [path]).done) == {'a', 'b'}


def test_a_file_of_others_says_no_inputs(tmp_path):
  path = tmp_path / 'p.json'
  for text in ('', '{"results": {}}', '{\n"results": {}\n}', '{\n[1]'):
    path.write_text(text)
    assert result_files.inputs_of(path) == []


@pytest.mark.parametrize('order', [(0, 1, 2), (2, 0, 1)])
def test_the_last_shard_joins_all(tmp_path, order):
  output = tmp_path / 'p.json'
  for done, index in enumerate(order):
    assert not output.exists()
    path = result_files.shard_path(output, index, 3)
    results = result_files.Results(path, 'abc', ['videos'])
    results.add(f'video_{index}', _proposals(index))
    results.finish()
    csv = tmp_path / 'p.csv'
    result_files.join(output, 3, 'abc', str(csv))
    assert output.exists() == (done == 2)
  assert set(proposal_files.read(output)) == {f'video_{i}' for i in range(3)}
  assert result_files.inputs_of(output) == ['videos']
  assert csv.read_text().startswith('video,start,end,score')


def _labelled(start):
  found = _proposals(start)
  return proposal_files.Proposals(
    found.segments, found.scores, ('run', 'dig'), np.array([0.75, 0.5])
  )


def _same_labels(a, b):
  _equal(a, b)
  assert a.labels == b.labels
  np.testing.assert_array_equal(a.label_scores, b.label_scores)


def test_labels_outlive_a_kill(tmp_path):
  output = tmp_path / 'p.json'
  first = result_files.Results(output, 'abc')
  first.add('a', _labelled(1.0))
  again = result_files.Results(output, 'abc')
  _same_labels(again.done['a'], _labelled(1.0))
  again.finish()
  _same_labels(proposal_files.read(output)['a'], _labelled(1.0))


def test_labels_of_all_shards_are_joined(tmp_path):
  output = tmp_path / 'p.json'
  for index, name in enumerate('ab'):
    path = result_files.shard_path(output, index, 2)
    shard = result_files.Results(path, 'abc')
    shard.add(name, _labelled(float(index)))
    shard.finish()
  result_files.join(output, 2, 'abc', str(tmp_path / 'p.csv'))
  found = proposal_files.read(output)
  for index, name in enumerate('ab'):
    _same_labels(found[name], _labelled(float(index)))
  lines = (tmp_path / 'p.csv').read_text().splitlines()
  assert lines[0] == 'video,start,end,score,label,label_score'
  assert lines[1] == 'a,0.0,1.5,0.9,run,0.75'
