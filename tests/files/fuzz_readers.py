"""Damages good files at random and gives them to every reader of files.

Whatever the bytes, a reader must end soon, take little memory, and either
return something sound or raise a ValueError that names the file. As a program
it tries many more than the tests do:

    python -m tests.files.fuzz_readers --examples=10000 --seed=1
"""

import argparse
import collections
import functools
import importlib.util
import io
import json
import pathlib
import pickle
import random
import tempfile
import time
import tracemalloc
import warnings
import zipfile

import h5py
import numpy as np
import scipy.io

from cmsn_jax.annotations import (
  activitynet,
  finishing,
  imported,
  importers,
  lengths,
)
from cmsn_jax.files import (
  feature_files,
  pose_files,
  proposal_files,
  proposal_sources,
  proposal_units,
  torch_files,
  video_ids,
)
from cmsn_jax.video import decoding
from cmsn_jax.video import reader as video_reader
from tests.annotations import made_files
from tests.video import made_videos

MAX_SECONDS = 30.0  # wall time, on machines that do other things too
MAX_BYTES = 100e6
EXTREMES = [
  b'-1', b'0', b'1e999', b'-1e308', b'NaN', b'Infinity', b'null', b'true',
  b'9' * 5000, b'1' + b'0' * 400, b'""', b'"../../x"', b'"\\ud800"', b'[]',
  b'{}', b'[' * 3000, b'{"a":' * 3000, b'\x00', b'\xff\xfe', b'"a":1,"a":2',
  b',', b';', b'\n', b'"', b'2147483648', b'-9223372036854775809', b'1e-320',
]  # fmt: skip


def _array():
  return np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


def _annotations():
  entry = {
    'subset': 'training', 'duration': 10.0, 'fps': 25.0, 'feature_fps': 5,
    'annotations': [
      {'segment': [1.0, 2.5], 'label': 'run'}, {'segment': [3, 4], 'label': 'b'},
    ],
  }  # fmt: skip
  return json.dumps({'version': '1', 'database': {'v1': entry, 'v2': entry}})


def _proposals():
  entries = [{'segment': [k, k + 1.5], 'score': 1 / (k + 1)} for k in range(4)]
  return json.dumps({'version': '1', 'results': {'v1': entries, 'v2': entries}})


def _npy(order='C'):
  file = io.BytesIO()
  np.save(file, np.asarray(_array(), order=order))
  return file.getvalue()


def _npz():
  file = io.BytesIO()
  np.savez_compressed(file, features=_array(), fps=25)
  return file.getvalue()


def _stored_npz():
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w') as archive:
    archive.writestr('features.npy', _npy())
  return file.getvalue()


def _h5():
  file = io.BytesIO()
  with h5py.File(file, 'w') as h5:
    h5.create_dataset('v1', data=_array(), compression='gzip', chunks=(7, 4))
    h5.create_group('v2')['feature'] = _array()
  return file.getvalue()


def _h5_of_one():
  file = io.BytesIO()
  with h5py.File(file, 'w') as h5:
    h5['x'] = _array()
  return file.getvalue()


def _mat():
  file = io.BytesIO()
  scipy.io.savemat(file, {'x': _array(), 'name': 'v1'}, do_compression=True)
  return file.getvalue()


def _sleap():
  file = io.BytesIO()
  with h5py.File(file, 'w') as h5:
    h5['tracks'] = np.random.default_rng(0).normal(size=(1, 2, 3, 20))
    h5['node_names'] = np.array([b'a', b'b', b'c'])
  return file.getvalue()


def _csv_features():
  rows = [','.join(f'{x:.6g}' for x in row) for row in _array()]
  return '\n'.join(['f0,f1,f2,f3', *rows]) + '\n'


def check_annotations(read):
  for video_id, one in read.videos.items():
    assert video_ids.problem(video_id) is None
    assert one.subset in activitynet.SUBSETS
    assert 0 < one.duration_sec <= 1e7
    assert np.isfinite(one.segments).all()
    assert (one.segments[:, 0] >= 0).all()
    assert (one.segments[:, 0] < one.segments[:, 1]).all()
    assert all(isinstance(label, str) and label for label in one.labels)


def check_proposals(read):
  for video_id, proposals in read.items():
    assert video_ids.problem(video_id) is None
    assert np.isfinite(proposals.segments).all()
    assert np.isfinite(proposals.scores).all()
    assert (np.diff(proposals.segments, axis=1) >= 0).all()
    assert (np.diff(proposals.scores) <= 0).all()


def read_proposals(path):
  clock = proposal_units.Clock({'v1': 10.0, 'v2': 20.0})
  return proposal_sources.read(path, clock)


def read_pose(path):
  return pose_files.read(str(path))


def check_pose(read):
  assert read.points.shape[:3] == read.likelihood.shape
  assert not np.isnan(read.likelihood).any()


def check_lengths(read):
  assert all(length.duration_sec > 0 for length in read.values())


def read_features(path):
  """Reads one file of features as a store does, and every array in it."""
  if path.suffix == '.h5':
    store = feature_files.open_features(path)
  else:
    store = feature_files.open_features(path.parent)
  for video_id in store.ids:
    assert video_ids.problem(video_id) is None
    rows = store.read(video_id)
    assert rows.shape == (store.num_snippets(video_id), store.dim)
    assert rows.dtype == np.float32 and np.isfinite(rows).all()
  return store


def read_folder(path):
  """Reads a file as one of a folder."""
  store = feature_files.open_features(path.parent)
  assert np.isfinite(store.read('v1')).all()
  return store


def _mp4():
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'v1.mp4'
    made_videos.make(path, num_frames=12, size=(48, 64))
    return path.read_bytes()


def _pth():
  import torch

  file = io.BytesIO()
  content = {'w': torch.tensor(_array()), 'half': torch.ones(3).half()}
  torch.save({'state_dict': content, 'epoch': 3}, file)
  return file.getvalue()


@functools.cache
def _worker():
  return video_reader.VideoReader(timeout_sec=MAX_SECONDS)


def read_video(path):
  """Reads a video as the commands do: its header here, frames in a worker."""
  info = decoding.probe(path)
  assert 0 < info.duration_sec < float('inf') and info.fps > 0
  count = 0
  for chunk in _worker().frames(path, fps=10.0, size=(24, 32)):
    assert chunk.shape[1:] == (24, 32, 3)
    count += len(chunk)
  assert count


def check_state(read):
  assert all(isinstance(value, np.ndarray) for value in read.values())


def read_thumos(path):
  return importers.thumos14(path.parent)


def read_csv(path):
  known = {'v1': lengths.Length(10.0)}
  return importers.convert(path, format='csv', lengths=known).annotations


def read_made(name, path, format='auto'):
  """Reads an annotation file of `made_files`, or what became of one."""
  made = made_files.FILES[name]
  known = {'v1', *made_files.RECORDINGS.values()}
  stated = 'boris' in name or name.startswith(
    ('bento', 'charades', 'frames', 'calms21')
  )
  return importers.convert(
    path,
    format=format,
    lengths=None if stated else {x: lengths.Length(30.0, 10.0) for x in known},
    options=imported.Options(**({'fps': 10.0} | made.options)),
    # Whatever can be made of it, so that more of the way is gone.
    policy=finishing.Policy(bad='clip', match='loose'),
  ).annotations


# name: (a good file, its name, reader, what must hold of the result)
READERS = {
  'annotations': (
    _annotations(), 'a.json', activitynet.read, check_annotations,
  ),
  'proposals': (
    _proposals(), 'p.json', proposal_files.read, check_proposals,
  ),
  'pose.csv': (
    'scorer,s,s,s\nbodyparts,a,a,a\ncoords,x,y,likelihood\n'
    '0,1.5,2.5,.9\n1,1.75,2.25,.5\n', 'p.csv', read_pose, check_pose,
  ),
  'pose.json': (
    '[{"people": [{"pose_keypoints_2d": [1, 2, 0.9, 3, 4, 0]}]}, {"people": []}]',
    'p.json', read_pose, check_pose,
  ),
  'pose.h5': (_sleap(), 'p.h5', read_pose, check_pose),
  'other proposals': (
    _proposals().replace('"results"', '"detect_results"'), 'p.json',
    read_proposals, check_proposals,
  ),
  'proposals.csv': (
    'f-end f-init score video-frames video-name\n'
    '50 20 .5 250 v1\n90 60.5 .25 250 v1\n40 10 1 500 v2\n', 'p.csv',
    read_proposals, check_proposals,
  ),
  'proposals.txt': (
    'v1 1 2.5 .5 run\nv1 3 4 .25 a\nv2 .5 9 1 run\n', 'p.txt',
    read_proposals, check_proposals,
  ),
  'proposal list': (
    '# 0\nv1\n250\n1\n1\n3 .1 .2\n2\n3 .5 .6 .1 .2\n3 .5 .6 .3 .9\n'
    '# 1\nv2\n500\n1\n0\n1\n3 .5 .6 .25 .5\n', 'p.txt',
    read_proposals, check_proposals,
  ),
  'proposals.pkl': (
    pickle.dumps({
      'video-id': ['v1', 'v2'], 't-start': np.array([1.0, 2.0]),
      't-end': np.array([3.0, 4.0]), 'label': np.array([0, 1]),
      'score': np.array([0.5, 0.25]),
    }), 'p.pkl', read_proposals, check_proposals,
  ),
  'lengths.json': (
    '{"v1": 10, "v2": {"duration": 3, "fps": 25}}', 'd.json',
    lengths.read, check_lengths,
  ),
  'lengths.csv': (
    'video,duration,fps\nv1,10,25\nv2,3,\n', 'd.csv',
    lengths.read, check_lengths,
  ),
  'csv': (
    'video,start,end,label,subset,duration\nv1,1,2,run,train,10\n'
    'v1,3,4,"a, b",,\nv2,,,,test,20\n', 'c.csv', read_csv, check_annotations,
  ),
  'thumos14': (
    'video_test_1  1.0 2.5\nvideo_test_1 3.0 4.0\nvideo_test_2 0.5 9\n',
    'Diving_test.txt', read_thumos, check_annotations,
  ),
  'thumos14.json': (
    '{"video_test_1": 300, "video_test_2": 400}',
    'frm_num.json', read_thumos, check_annotations,
  ),
  'sidecar': (
    '{"feature_fps": 5, "dim": 4, "extractor": "c3d"}', 'features.json',
    read_features, lambda _: None,
  ),
  'npy': (_npy(), 'v1.npy', read_features, lambda _: None),
  'npy, columns first': (_npy('F'), 'v1.npy', read_features, lambda _: None),
  'npz': (_npz(), 'v1.npz', read_features, lambda _: None),
  'npz, stored': (_stored_npz(), 'v1.npz', read_features, lambda _: None),
  'csv features': (_csv_features(), 'v1.csv', read_features, lambda _: None),
  'h5': (_h5(), 'all.h5', read_features, lambda _: None),
  'csv features, semicolons': (
    _csv_features().replace(',', ';').replace('.', ','), 'v1.csv',
    read_features, lambda _: None,
  ),
  'csv features, numbered': (
    '\n'.join(
      f'{k},{line}' for k, line in enumerate(_csv_features().splitlines()[1:])
    ),
    'v1.csv', read_features, lambda _: None,
  ),
  'pickle': (
    pickle.dumps({'features': _array(), 'fps': 5}), 'v1.pkl',
    read_features, lambda _: None,
  ),
  'pickle, old': (
    pickle.dumps(_array(), 0), 'v1.pkl', read_features, lambda _: None,
  ),
  'mat': (_mat(), 'v1.mat', read_features, lambda _: None),
  'h5 of one': (_h5_of_one(), 'v1.h5', read_folder, lambda _: None),
  'mat 7.3': (_h5_of_one(), 'v1.mat', read_features, lambda _: None),
  'mp4': (_mp4(), 'v1.mp4', read_video, lambda _: None),
}  # fmt: skip
for _name, _made in made_files.FILES.items():
  _read = functools.partial(read_made, _name, format=_name.partition(',')[0])
  READERS[f'made: {_name}'] = (
    _made.content, _made.name, _read, check_annotations,
  )  # fmt: skip
READERS['recognised: boris'] = (
  made_files.FILES['boris, log'].content,
  'any.csv',
  functools.partial(read_made, 'boris, log'),
  check_annotations,
)
READERS['recognised: json'] = (
  made_files.FILES['boris, project'].content,
  'any.json',
  functools.partial(read_made, 'boris, project'),
  check_annotations,
)
if importlib.util.find_spec('torch'):
  READERS['pth'] = _pth, 'w.pth', torch_files.read, check_state
# Files that must lie beside the damaged one.
COMPANIONS = {
  'thumos14': {
    'frm_num.json': b'{"video_test_1": 300, "video_test_2": 400}',
  },
  'thumos14.json': {'Diving_test.txt': b'video_test_1 1.0 2.5\n'},
  'sidecar': {'v1.npy': _npy()},
}


@functools.cache
def good(name):
  """The undamaged file of a reader."""
  content = READERS[name][0]
  if callable(content):
    content = content()
  return content.encode() if isinstance(content, str) else content


def damaged(content, rng):
  """The content after one to four random injuries."""
  content = bytearray(content)
  for _ in range(rng.randint(1, 4)):
    at = rng.randrange(len(content) + 1)
    length = min(rng.choice((1, 1, 2, 4, 8, 50)), len(content) - at)
    kind = rng.randrange(8)
    if kind == 0 and at < len(content):
      content[at] ^= 1 << rng.randrange(8)
    elif kind == 1 and at < len(content):
      content[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    elif kind == 2:
      del content[at : at + length]
    elif kind == 3:
      content[at:at] = content[at : at + length] * rng.choice((1, 2, 100))
    elif kind == 4:
      content[at:at] = rng.randbytes(length)
    elif kind == 5:
      del content[at:]
    elif kind == 6:
      content[at : at + length] = rng.randbytes(length)
    else:
      # Often in place of a whole number or word.
      end = at
      while end < len(content) and chr(content[end]).isalnum():
        end += 1
      content[at:end] = rng.choice(EXTREMES)
  return bytes(content)


def outcome(name, content, folder):
  """'read' or 'refused'; anything else raises."""
  _, file_name, reader, check = READERS[name]
  for other, other_content in COMPANIONS.get(name, {}).items():
    (folder / other).write_bytes(other_content)
  path = folder / file_name
  path.write_bytes(content)
  before = time.monotonic()
  tracemalloc.start()
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      result = reader(path)
    check(result)
    found = 'read'
  except ValueError as error:
    message = str(error)
    assert str(folder) in message, f'no file named: {message[:500]}'
    assert len(message) < 40_000
    found = 'refused'
  finally:
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
  assert peak < MAX_BYTES, f'{peak} bytes'
  assert time.monotonic() - before < MAX_SECONDS
  return found


def run(name, examples, seed):
  """Tries `examples` damaged files; counts of the outcomes."""
  rng = random.Random(f'{name} {seed}')
  counts = collections.Counter()
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    assert outcome(name, good(name), folder) == 'read'
    for k in range(examples):
      content = damaged(good(name), rng)
      try:
        counts[outcome(name, content, folder)] += 1
      except BaseException:
        kept = pathlib.Path(tempfile.gettempdir()) / f'fuzz_{seed}_{k}'
        kept.write_bytes(content)
        print(f'{name}, seed {seed}, example {k}: kept in {kept}')
        raise
  return counts


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--examples', type=int, default=1000)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--only', choices=READERS)
  options = parser.parse_args()
  for name in [options.only] if options.only else READERS:
    counts = run(name, options.examples, options.seed)
    print(f'{name:20} read {counts["read"]:6}  refused {counts["refused"]:6}')


if __name__ == '__main__':
  main()
