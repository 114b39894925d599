import json
import pickle

import h5py
import numpy as np
import pytest

from cmsn_jax.files import pose_files

ERROR = pose_files.PoseFileError
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(7, 2, 3, 2)) * 50 + 200
LIKELIHOOD = RNG.uniform(size=(7, 2, 3))
PARTS = ('nose', 'ear', 'tail')
ANIMALS = ('m1', 'm2')


def columns(animals=2):
  return [
    ('s', a, p, c)[0 if animals > 1 else 0 :]
    for a in ANIMALS[:animals]
    for p in PARTS
    for c in ('x', 'y', 'likelihood')
  ]


def values(animals=2):
  both = np.concatenate([POINTS, LIKELIHOOD[..., None]], axis=-1)
  return both[:, :animals].reshape(7, -1)


def check(pose, animals=2, likelihood=True, atol=1e-9):
  np.testing.assert_allclose(pose.points, POINTS[:, :animals], atol=atol)
  if likelihood:
    np.testing.assert_allclose(
      pose.likelihood, LIKELIHOOD[:, :animals], atol=atol
    )


def save_csv(path, animals):
  names = ['scorer', 'individuals', 'bodyparts', 'coords']
  rows = [[n, *(c[k] for c in columns(animals))] for k, n in enumerate(names)]
  if animals == 1:
    del rows[1]
  rows += [
    [k, *map(repr, row)] for k, row in enumerate(values(animals).tolist())
  ]
  path.write_text('\n'.join(','.join(map(str, row)) for row in rows) + '\n')


def test_deeplabcut_csv(tmp_path):
  for animals in (1, 2):
    save_csv(tmp_path / 'a.csv', animals)
    pose = pose_files.read(str(tmp_path / 'a.csv'))
    check(pose, animals)
    assert pose.parts == PARTS
    assert pose.animals == (ANIMALS if animals == 2 else ('animal',))


@pytest.mark.parametrize('named', [True, False])
def test_deeplabcut_table(named, tmp_path):
  path = tmp_path / 'a.h5'
  table = np.zeros(7, [('index', 'i8'), ('values_block_0', 'f8', (9,))])
  table['values_block_0'] = values(1)
  with h5py.File(path, 'w') as file:
    group = file.create_group('df_with_missing')
    group['table'] = table
    if named:
      names = [(c[0], c[2], c[3]) for c in columns(1)]
      group.attrs['non_index_axes'] = np.void(pickle.dumps([(1, names)], 0))
  pose = pose_files.read(str(path))
  check(pose, 1)
  assert pose.parts == (PARTS if named else ('part 0', 'part 1', 'part 2'))


def test_deeplabcut_fixed(tmp_path):
  path = tmp_path / 'a.h5'
  with h5py.File(path, 'w') as file:
    group = file.create_group('keypoints')
    group['block0_values'] = values()
    for k in range(4):
      level = sorted({c[k] for c in columns()})
      group[f'axis0_level{k}'] = np.array(level, 'S')
      group[f'axis0_label{k}'] = [level.index(c[k]) for c in columns()]
  pose = pose_files.read(str(path))
  check(pose)
  assert (pose.animals, pose.parts) == (ANIMALS, PARTS)


def test_sleap(tmp_path):
  path = tmp_path / 'a.analysis.h5'
  tracks = POINTS.transpose(1, 3, 2, 0).copy()
  tracks[0, :, 1, 3] = np.nan
  with h5py.File(path, 'w') as file:
    file['tracks'] = tracks
    file['node_names'] = np.array(PARTS, 'S')
    file['track_names'] = np.array(ANIMALS, 'S')
    file['point_scores'] = LIKELIHOOD.transpose(1, 2, 0)
  pose = pose_files.read(str(path))
  assert np.isnan(pose.points[3, 0, 1]).all()
  assert np.isnan(pose.points).sum() == 2
  check(
    pose._replace(points=np.where(np.isnan(pose.points), POINTS, pose.points))
  )
  assert (pose.animals, pose.parts) == (ANIMALS, PARTS)


def test_openpose_and_mediapipe(tmp_path):
  both = np.concatenate([POINTS, LIKELIHOOD[..., None]], axis=-1)
  frames = [
    {'people': [{'pose_keypoints_2d': one.ravel().tolist()} for one in frame]}
    for frame in both
  ]
  (tmp_path / 'a.json').write_text(json.dumps(frames))
  check(pose_files.read(str(tmp_path / 'a.json')))
  frames = [
    {'landmarks': [
      {'x': x, 'y': y, 'z': 0.0, 'visibility': v} for x, y, v in frame[0].tolist()
    ]}
    for frame in both
  ]  # fmt: skip
  (tmp_path / 'a.json').write_text(json.dumps({'frames': frames}))
  check(pose_files.read(str(tmp_path / 'a.json')), 1)


def test_a_point_that_openpose_did_not_find(tmp_path):
  frames = [
    {'people': [{'pose_keypoints_2d': [1, 2, 0.9, 0, 0, 0]}]},
    {'people': []},
  ]
  (tmp_path / 'a.json').write_text(json.dumps(frames))
  pose = pose_files.read(str(tmp_path / 'a.json'))
  assert pose.points.shape == (2, 1, 2, 2)
  assert np.isfinite(pose.points[0, 0, 0]).all()
  assert np.isnan(pose.points[0, 0, 1]).all() and np.isnan(pose.points[1]).all()


@pytest.mark.parametrize(
  ('name', 'text', 'words'),
  [
    ('a.csv', 'a,b\n1,2\n', 'scorer, bodyparts and coords'),
    ('a.csv', 'bodyparts,n,n\ncoords,x,y\n0,1\n', 'another width'),
    ('a.csv', 'bodyparts,n,n\ncoords,x,x\n0,1,2\n', 'twice'),
    ('a.csv', 'bodyparts,n,n\ncoords,x,y\n0,1,z\n', 'row 3'),
    ('a.h5', 'text', 'not an HDF5 file'),
    ('a.json', '{"people": [{}]}', 'pose_keypoints_2d'),
    ('a.json', '[3]', 'as a frame'),
    ('a.txt', '', 'expected a file of'),
  ],
)
def test_what_is_no_pose(name, text, words, tmp_path):
  (tmp_path / name).write_text(text)
  with pytest.raises(ERROR, match=words) as caught:
    pose_files.read(str(tmp_path / name))
  assert name in str(caught.value)


def test_names_of_recordings():
  for name, recording in (
    ('rat_01DLC_resnet50_openfieldOct30shuffle1_1000.csv', 'rat_01'),
    ('rat_01.analysis.h5', 'rat_01'),
    ('rat_01.csv', 'rat_01'),
    ('rat.2.json', 'rat.2'),
  ):
    assert pose_files.recording(name) == recording


def test_shared_cases(cases):
  pose = pose_files.read(str(cases('features/feats_csv_dlc/rat_01.csv')))
  assert pose.parts == ('nose',) and pose.points.shape == (300, 1, 1, 2)
  path = cases('features/feats_h5_dlc/rat_01.h5')
  assert pose_files.read(str(path)).points.shape == (300, 1, 4, 2)
  path = cases('features/feats_h5_sleap/rat_01.analysis.h5')
  assert pose_files.read(str(path)).points.shape == (300, 2, 5, 2)
