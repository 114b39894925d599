"""Some seventy odd files in one folder: exact ids, exact times, no silence."""

import contextlib
import functools
import json
import pathlib
import warnings

import numpy as np
import pytest

from cmsn_jax.features import feature_folder, video_features
from cmsn_jax.files import proposal_files
from cmsn_jax.proposing import corpus
from cmsn_jax.training import setup
from cmsn_jax.video import decoding, finding, sampling, video_files
from configs import features_default, rat_social
from tests.proposing import index_backbone
from tests.video import made_kinds, made_videos

_NAMES = (
  'Übung 3.mp4', 'rat [1].mp4', "it's.mp4", '-x.mp4', '#1.mp4', '100%.mp4',
  '%05d.mp4', 'a.b.c.mp4', 'two  spaces.mp4', '名前.mp4', '🐀.mp4', '~tilde.mp4',
  'star*.mp4', 'semi;colon.mp4', 'comma,.mp4', 'concat:a|b.mp4', '$HOME.mp4',
  'UPPER.MP4', 'con.mp4', '2024-01-01.mp4', f'{"x" * 180}.mp4', '001.mp4',
  '1.mp4', 'rat_01.mp4', 'rat-01.mp4',
)  # fmt: skip
_KINDS = {
  'k_mov.mov': {},
  'k_m4v.m4v': {},
  'k_3gp.3gp': {},
  'k_f4v.f4v': {},
  'k_mkv.MKV': {},
  'k_flv.flv': {},
  'k_ts.TS': {},
  'k_mts.MTS': {},
  'k_nut.nut': {},
  'k_vp8.webm': {'codec': 'libvpx', 'options': {'deadline': 'realtime'}},
  'k_vp9.webm': {'codec': 'libvpx-vp9', 'options': {'cpu-used': '8'}},
  'k_ogv.ogv': {'codec': 'libvpx', 'options': {'deadline': 'realtime'}},
  'k_avi.AVI': {'codec': 'mpeg4'},
  'k_divx.divx': {'codec': 'mpeg4'},
  'k_mjpeg.avi': {'codec': 'mjpeg', 'pixel_format': 'yuvj420p'},
  'k_mpg.mpg': {'codec': 'mpeg2video'},
  'k_vob.VOB': {'codec': 'mpeg2video'},
  'k_mod.MOD': {'codec': 'mpeg2video'},
  'k_m2v.m2v': {'codec': 'mpeg2video'},
  'k_wmv.wmv': {'codec': 'msmpeg4v3'},
  'k_gif.gif': {'codec': 'gif', 'pixel_format': 'rgb8'},
  'k_10bit.mkv': {'pixel_format': 'yuv420p10le'},
  'k_444.mp4': {'pixel_format': 'yuv444p'},
  'k_sound.mp4': {'audio': True},
  'k_15.mp4': {'rate': 15},
  'k_24.mkv': {'rate': 24},
  'k_2997.mp4': {'rate': '30000/1001'},
  'k_50.mp4': {'rate': 50},
  'k_60.mp4': {'rate': 60},
  'k_1.mp4': {'rate': 1, 'num_frames': 5},
}
_FORMAT = {'.VOB': 'vob', '.MOD': 'mpeg', '.divx': 'avi', '.f4v': 'mp4'}


class Folder:
  """The files; `times` has when each picture of a good one begins."""

  def __init__(self, folder):
    self.folder = folder
    self.times, self.bad = {}, set()
    folder.mkdir()
    self.spare = folder.parent / 'spare'
    self.spare.mkdir()
    plain = made_videos.make(self.spare / 'plain.mp4', num_frames=30)
    for k, name in enumerate(_NAMES):
      path = made_videos.make(self.spare / 'n.mp4', num_frames=20 + k)
      self.add(path.rename(folder / name), np.arange(20 + k) / 25)
    for name, arguments in _KINDS.items():
      self.encode(name, {'num_frames': 40, **arguments})
    self.kinds(plain)
    self.damaged(plain)
    (folder / 'sub').mkdir()
    (folder / 'labels.csv').write_text('video,start,end\n')

  def add(self, path, times, step=0.04):
    self.times[path.stem] = np.asarray(times), times[-1] + step

  def encode(self, name, arguments):
    rate = arguments.get('rate', 25)
    rate = 30000 / 1001 if isinstance(rate, str) else rate
    suffix = _FORMAT.get(pathlib.Path(name).suffix)
    path = self.spare / f'k.{suffix}' if suffix else self.folder / name
    made_videos.make(path, **arguments)
    if suffix:
      path.rename(self.folder / name)
    times = np.arange(arguments['num_frames']) / rate
    self.add(self.folder / name, times, 1 / rate)

  def kinds(self, plain):
    folder, spare = self.folder, self.spare
    self.add(folder / 'gaps.avi', made_kinds.gaps(folder / 'gaps.avi'))
    made_kinds.hidden_frames(folder / 'hidden.webm', spare)
    self.add(folder / 'hidden.webm', np.arange(100) / 25)
    for suffix in ('mp4', 'mkv'):
      made_kinds.two_tracks(folder / f'tracks_{suffix}.{suffix}')
      self.add(folder / f'tracks_{suffix}.{suffix}', np.arange(50) / 25)
    for suffix in ('mp4', 'mkv', 'ts', 'flv'):
      path = folder / f'longer_{suffix}.{suffix}'
      made_kinds.copy(plain, path, sound_sec=5.0)
      self.add(path, np.arange(30) / 25)
    for suffix in ('mp4', 'mkv'):
      path = folder / f'late_{suffix}.{suffix}'
      made_kinds.copy(plain, path, late_sec=2.0, sound_sec=5.0)
      # The sound's encoder begins a little before it where edit lists cannot
      # hide that.
      late = decoding.probe(path).start_sec
      assert 2.0 <= late < 2.09
      self.add(path, late + np.arange(30) / 25)
    times = np.cumsum(np.random.default_rng(0).choice([0.02, 0.1, 0.4], 30))
    times = np.round(times - times[0], 3)
    made_videos.make(
      folder / 'vfr.mkv', num_frames=30, times_sec=times, options={'bf': '2'}
    )
    self.add(folder / 'vfr.mkv', times)

  def damaged(self, plain):
    data = plain.read_bytes()
    cut = made_videos.make(
      self.spare / 'c.mkv', num_frames=40, noise=20
    ).read_bytes()
    for name, content in {
      'empty.mp4': b'', 'text.mp4': b'<html>404</html>',
      'half.mp4': data[: len(data) // 2], 'half.mkv': cut[: len(cut) // 2],
    }.items():  # fmt: skip
      name = f'bad_{name.replace(".", "_")}.{name[-3:]}'
      (self.folder / name).write_bytes(content)
      self.bad.add(pathlib.Path(name).stem)
    made_videos.make_audio(self.folder / 'bad_sound.mp4')
    self.bad.add('bad_sound')
    (self.folder / 'bad_tab\t.mp4').write_bytes(data)
    self.bad.add(ascii('bad_tab\t'))
    (self.folder / 'gone.mp4').symlink_to('nowhere.mp4')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A run trained on features of the backbone that tells the picture."""
  folder = tmp_path_factory.mktemp('run')
  (folder / 'videos').mkdir()
  database = {}
  for k in range(3):
    frames = 120 + 10 * k
    made_videos.make(folder / 'videos' / f'v{k}.mp4', num_frames=frames)
    database[f'v{k}'] = {
      'subset': 'training', 'duration': frames / 25,
      'annotations': [{'segment': [1.0, 3.0], 'label': 'x'}],
    }  # fmt: skip
  (folder / 'a.json').write_text(json.dumps({'database': database}))
  section = features_default.get_config().features
  section.extractor = index_backbone.__name__
  made = video_features.from_config(section)
  videos = finding.find(folder / 'videos').videos
  feature_folder.extract(made, videos, folder / 'features', quiet=True)
  config = rat_social.get_config('smoke')
  config.data.annotations = str(folder / 'a.json')
  config.data.features = str(folder / 'features')
  config.evaluator.enabled = False
  config.windows.length = 16
  config.train.stages_epochs = 1
  setup.run(config, folder / 'workdir', quiet=True)
  return folder / 'workdir'


@pytest.mark.slow
def test_every_odd_file_has_its_id_and_its_times(run, tmp_path):
  made = Folder(tmp_path / 'videos')
  assert len(made.times) + len(made.bad) > 60
  output, features = tmp_path / 'p.json', tmp_path / 'p_features'
  with contextlib.ExitStack() as stack:
    caught = stack.enter_context(warnings.catch_warnings(record=True))
    warnings.simplefilter('always', decoding.VideoWarning)
    failures = corpus.propose(
      run, str(made.folder), output, keep_features=features, quiet=True,
      save_stages=str(tmp_path / 'stages'),
    )  # fmt: skip
  assert failures.keys() == made.bad
  assert not [w for w in caught if w.category is decoding.VideoWarning]
  found = proposal_files.read(output)
  assert found.keys() == made.times.keys()
  wrong = {}
  for video_id, (times, end) in made.times.items():
    shown = sampling.source_frames(times, end, index_backbone.FPS)
    rows = np.load(features / f'{video_id}.npy')
    with np.load(tmp_path / 'stages' / f'{video_id}.npz') as stages:
      assert len(stages['probabilities']) == len(rows)
    # The last snippet may be a begun one.
    whole = len(shown) // index_backbone.STRIDE
    indices = [index_backbone.index_of(row) for row in rows[:whole]]
    expected = shown[index_backbone.STRIDE // 2 :: index_backbone.STRIDE]
    if abs(len(rows) - len(shown) / index_backbone.STRIDE) >= 1 or (
      indices != expected[:whole].tolist()
    ):
      wrong[video_id] = indices, expected.tolist()
    last = found[video_id].segments.max(initial=0.0)
    assert last <= len(rows) * index_backbone.STRIDE / index_backbone.FPS
  assert not wrong
  _a_second_call_knows_what_is_done(run, made, output)


def _a_second_call_knows_what_is_done(run, made, output):
  """Nothing is done again, and nothing is taken for something else."""
  changed = made.times.keys() & {'1', '001'}
  for name in changed:
    path = made.folder / f'{name}.mp4'
    path.unlink()
    made_videos.make(path, num_frames=60)
  other = made.spare / 'other'
  other.mkdir()
  made_videos.make(other / 'rat_01.mp4', num_frames=70)
  before = proposal_files.read(output)
  inputs = [made.folder / '1.mp4', made.folder / '001.mp4', other]
  failures = corpus.propose(
    run, list(map(str, inputs)), output, append=True, quiet=True
  )
  assert failures.keys() == {'rat_01'}
  assert '--ids=path' in failures['rat_01']
  after = proposal_files.read(output)
  assert after.keys() == before.keys()
  same = lambda a, b: (
    a.segments.shape == b.segments.shape
    and np.array_equal(a.segments, b.segments)
    and np.array_equal(a.scores, b.scores)
  )
  assert {v for v in after if not same(after[v], before[v])} <= changed
  found = finding.find(other, ids='path')
  assert not corpus.propose(
    run, str(other), output, find=lambda: found, append=True, quiet=True
  )
  assert 'other__rat_01' in proposal_files.read(output)


def test_damaged_videos_beside_annotations_of_the_whole(run, tmp_path):
  folder = tmp_path / 'videos'
  folder.mkdir()
  database = {}
  for name in ('whole', 'cut', 'empty'):
    path = made_videos.make(folder / f'{name}.mkv', num_frames=120, noise=20)
    database[name] = {'subset': 'testing', 'duration': 4.8, 'annotations': []}
    if name == 'cut':
      path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif name == 'empty':
      made_kinds.empty_from_the_middle(path)
  annotations = tmp_path / 'a.json'
  annotations.write_text(json.dumps({'database': database}))
  propose = functools.partial(
    corpus.propose, run, str(folder), annotations=str(annotations), quiet=True
  )
  failures = propose(tmp_path / 'refused.json')
  assert failures.keys() == {'cut', 'empty'}
  for name, message in failures.items():
    assert f'{name}.mkv' in message and '--allow_damage' in message
  shown = pytest.warns(video_files.VideoWarning, match='what is there')
  with made_kinds.damage_allowed(), shown:
    assert not propose(tmp_path / 'p.json')
  found = proposal_files.read(tmp_path / 'p.json')
  assert found.keys() == database.keys()
  for name in ('cut', 'empty'):
    assert found[name].segments.max(initial=0.0) < 3.5
  # A file that is whole, and not the one that was annotated.
  database['whole']['duration'] = 9.0
  annotations.write_text(json.dumps({'database': database}))
  words = propose(tmp_path / 'other.json')['whole']
  assert 'give the file that was annotated' in words
