"""Recordings to review, made for tests."""

import pathlib

import numpy as np

from cmsn_jax.annotations import activitynet
from cmsn_jax.files import proposal_files, stage_files
from cmsn_jax.review import inputs


def proposals(count=30, duration=120.0, seed=0, labels=('rear', 'groom')):
  """Random proposals of a recording, best first."""
  rng = np.random.default_rng(seed)
  starts = rng.uniform(0, duration - 12, count).round(2)
  ends = starts + rng.uniform(1, 10, count).round(2)
  scores = np.sort(rng.uniform(0.02, 0.98, count))[::-1]
  return proposal_files.Proposals(
    np.stack([starts, ends], axis=1),
    scores.copy(),
    tuple(rng.choice(labels, count).tolist()),
  )


def write(folder: pathlib.Path, names=('day1', 'day2', 'day3'), **options):
  """proposals.json of all, annotations.json of the last."""
  found = {name: proposals(seed=k, **options) for k, name in enumerate(names)}
  proposal_files.write(folder / 'proposals.json', found)
  known = activitynet.Video(
    names[-1], 'validation', 120.0, np.array([[5.0, 9.0], [60.0, 66.0]]),
    ('rear', 'groom'), 25.0, 5.0,
  )  # fmt: skip
  activitynet.write(
    folder / 'annotations.json',
    activitynet.Annotations('', {names[-1]: known}),
  )
  return found


def features(folder: pathlib.Path, name: str, duration=120.0, dim=12):
  """Random walks at 5 rows a second."""
  folder.mkdir(exist_ok=True)
  rng = np.random.default_rng(1)
  rows = np.cumsum(rng.normal(size=(int(duration * 5), dim)), axis=0)
  np.save(folder / f'{name}.npy', rows.astype(np.float32))


def stages(folder: pathlib.Path, name: str, duration=120.0):
  """Random stage probabilities at 5 snippets a second."""
  rng = np.random.default_rng(2)
  rows = rng.dirichlet(np.full(6, 0.3), int(duration / 2))
  rows = np.repeat(rows, 10, axis=0)
  stage_files.write(folder / f'{name}.npz', rows.astype(np.float32), 5.0)


def film(path: pathlib.Path, seconds=20, fps=10):
  """A film whose brightness tells the frame, which any Chromium plays."""
  import av

  path.parent.mkdir(exist_ok=True)
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libvpx', rate=fps)
    stream.width, stream.height, stream.pix_fmt = 160, 90, 'yuv420p'
    stream.options = {'deadline': 'realtime', 'g': '10'}
    for k in range(seconds * fps):
      picture = np.full((90, 160, 3), 40 + k % 200, np.uint8)
      picture[:, : 160 * k // (seconds * fps)] = (90, 60, 160)
      frame = av.VideoFrame.from_ndarray(picture, 'rgb24')
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def gathered(folder: pathlib.Path) -> inputs.Inputs:
  """What a review begins with where all that it can show is there."""
  return inputs.gather(
    proposal_files.read(folder / 'proposals.json'),
    annotations=folder / 'annotations.json',
    videos=folder / 'videos',
    features=folder / 'features',
    feature_fps=5.0,
    stages=folder / 'stages',
  )
