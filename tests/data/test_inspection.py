import json

import numpy as np
import pytest

from cmsn_jax.data import inspection
from tests.video import made_videos

_CSV = 'video,start,end,label\nrat_01,1.0,4.0,dig\nrat_02,2.0,3.0,rear\n'


def _features(folder, names=('rat_01', 'rat_02'), rows=300):
  folder.mkdir(exist_ok=True)
  rng = np.random.default_rng(0)
  for name in names:
    values = rng.normal(size=(rows, 8)).astype(np.float32)
    np.save(folder / f'{name}.npy', values)


def _labels(path, seconds=60.0):
  path.write_text(
    json.dumps(
      {
        'database': {
          name: {
            'subset': 'training',
            'duration': seconds,
            'annotations': [{'segment': [1.0, 4.0], 'label': 'dig'}],
          }
          for name in ('rat_01', 'rat_02')
        }
      }
    )
  )


def _kinds(report):
  return [part.kind for part in report.parts]


def test_annotations_and_features_that_fit_give_the_training_command(tmp_path):
  _labels(tmp_path / 'labels.json')
  _features(tmp_path / 'features')
  report = inspection.inspect(tmp_path)
  assert sorted(_kinds(report)) == ['annotations', 'features']
  assert any('2 of the 2 annotated' in line for line in report.fits)
  assert any('about 5 a second' in line for line in report.fits)
  (command,) = report.commands
  assert command.startswith('cmsn train --config=configs/custom.py')
  assert command.endswith('--config.data.feature_fps=5')
  assert not report.missing


def test_a_rate_that_is_stated_wrongly_is_seen(tmp_path):
  _labels(tmp_path / 'labels.json')
  _features(tmp_path / 'features')
  (tmp_path / 'features' / 'features.json').write_text('{"feature_fps": 25}')
  report = inspection.inspect(tmp_path)
  assert any('says 25: one is wrong' in line for line in report.fits)


def test_a_table_is_converted_first(tmp_path):
  (tmp_path / 'labels.csv').write_text(_CSV)
  _features(tmp_path / 'features')
  commands = inspection.inspect(tmp_path).commands
  assert commands[0] == (
    f'cmsn convert_annotations --source={tmp_path}/labels.csv '
    f'--durations={tmp_path}/features --output=labels.json'
  )
  assert '--config.data.annotations=labels.json' in commands[1]


def test_names_that_nearly_match_are_shown(tmp_path):
  _labels(tmp_path / 'labels.json')
  _features(tmp_path / 'features', ('RAT_1', 'RAT_2'))
  fits = inspection.inspect(tmp_path).fits
  assert fits[0].startswith('0 of the 2')
  assert "'rat_01' is 'RAT_1' there" in fits[1] and '--match=loose' in fits[1]


def test_videos_alone_lack_annotations(tmp_path):
  made_videos.make(tmp_path / 'a.mp4')
  report = inspection.inspect(tmp_path)
  assert _kinds(report) == ['videos']
  assert 'annotations' in report.missing[0]
  assert report.commands[0].startswith('cmsn extract_features')


def test_tables_of_numbers_are_features(tmp_path):
  np.savetxt(tmp_path / 'rat_01.csv', np.zeros((30, 4)), delimiter=',')
  (part,) = inspection.inspect(tmp_path).parts
  assert part.kind == 'features' and '30 rows of 4' in part.text


def test_results_of_any_tool_and_a_run_are_known(tmp_path):
  results = {'results': {'rat_01': [{'segment': [0.0, 1.0], 'score': 0.5}]}}
  (tmp_path / 'p.json').write_text(json.dumps(results))
  run = tmp_path / 'run'
  (run / 'joint' / 'best').mkdir(parents=True)
  (run / 'config.json').write_text('{}')
  _labels(tmp_path / 'labels.json')
  _features(tmp_path / 'features')
  report = inspection.inspect(tmp_path)
  assert sorted(_kinds(report)) == [
    'annotations', 'features', 'proposals', 'run'
  ]  # fmt: skip
  assert any(c.startswith('cmsn propose') for c in report.commands)
  assert any(c.startswith('cmsn evaluate') for c in report.commands)


def test_what_cannot_be_used_says_why(tmp_path):
  _features(tmp_path / 'features')
  (tmp_path / 'features' / 'rat_01.npy').write_text('no array')
  (tmp_path / 'features' / 'rat_02.npy').write_text('no array')
  (part,) = inspection.inspect(tmp_path).parts
  assert part.kind == 'features' and 'rat_01' in part.problem


def test_nothing_there(tmp_path):
  assert not inspection.inspect(tmp_path).parts
  with pytest.raises(FileNotFoundError):
    inspection.inspect(tmp_path / 'none')


def test_every_shared_case_is_looked_at_without_a_fault(real_data):
  report = inspection.inspect(real_data('../cases/annotations'))
  assert len(report.parts) > 10
  assert 'annotations' in _kinds(report)
