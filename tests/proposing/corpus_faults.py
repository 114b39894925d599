"""What real machines do to runs over many videos; see fault_injection.py."""

import json
import os
import pathlib
import random
import re
import subprocess
import sys
import time

import numpy as np

from cmsn_jax.files import proposal_files
from tests.video import made_videos

ROOT = pathlib.Path(__file__).resolve().parents[2]
_GOOD, _FRAMES, _FPS = 4, 240, 25.0


class Corpus:
  """Videos, a backbone for them, and a model trained on their features."""

  def __init__(self, folder: pathlib.Path):
    self.folder, self.rng = folder, random.Random(0)
    self.videos = folder / 'videos'
    self.videos.mkdir(parents=True)
    code = (ROOT / 'docs' / 'extractors.md').read_text()
    code = re.search(r'```python\n(.*?)```', code, re.S)[1]
    (folder / 'my_backbone.py').write_text(code)
    for k in range(_GOOD):
      made_videos.make(
        self.videos / f'good_{k}.mp4', num_frames=_FRAMES + 12 * k, noise=40
      )

  def start(self, command, *flags):
    """A process of a command."""
    return subprocess.Popen(
      [sys.executable, '-m', f'launch.{command}', *flags],
      cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
      env={**os.environ, 'PYTHONPATH': str(self.folder)},
    )  # fmt: skip

  def run(self, command, *flags):
    """Status and all output of a command."""
    process = self.start(command, *flags)
    output, errors = process.communicate(timeout=600)
    return process.returncode, output + errors

  def extract(self, videos, output, *more):
    """Flags that extract features of videos."""
    return (
      'extract_features', '--config=configs/features_default.py',
      '--config.features.extractor=my_backbone', f'--input={videos}',
      f'--output={output}', *more,
    )  # fmt: skip

  def train(self, features):
    """The workdir of a model trained on the features of the good videos."""
    entry = lambda frames: {
      'subset': 'training',
      'duration': frames / _FPS,
      'annotations': [{'segment': [2.0, 5.0], 'label': 'x'}],
    }
    database = {f'good_{k}': entry(_FRAMES + 12 * k) for k in range(_GOOD)}
    annotations = self.folder / 'annotations.json'
    annotations.write_text(json.dumps({'database': database}))
    workdir = self.folder / 'run'
    config = self.folder / 'small.py'
    config.write_text(
      'from configs import rat_social\n\n\n'
      'def get_config():\n'
      "  config = rat_social.get_config('smoke')\n"
      f'  config.data.annotations = {str(annotations)!r}\n'
      f'  config.data.features = {str(features)!r}\n'
      '  config.evaluator.enabled = False\n'
      '  config.windows.length = 16\n'
      '  return config\n'
    )
    status, text = self.run(
      'train', f'--config={config}', f'--workdir={workdir}',
      '--input_pipeline=thread', '--quiet',
    )  # fmt: skip
    assert status == 0, text
    return workdir


def corrupt_videos(corpus: Corpus, features: pathlib.Path, workdir) -> tuple:
  """Videos of every kind of damage among good ones; (times, outcome)."""
  videos = corpus.folder / 'mixed'
  videos.mkdir()
  for path in corpus.videos.glob('*.mp4'):
    (videos / path.name).symlink_to(path)
  content = (corpus.videos / 'good_0.mp4').read_bytes()
  middle = bytearray(content)
  for at in range(len(content) // 4, len(content) // 2):
    middle[at] = corpus.rng.randrange(256)
  bad = {
    'bad_empty': b'',
    'bad_text': b'no video',
    'bad_cut': content[: len(content) // 2],
    'bad_bytes': bytes(middle),
    'bad_head': content[:40] + corpus.rng.randbytes(len(content) - 40),
  }
  for name, data in bad.items():
    (videos / f'{name}.mp4').write_bytes(data)
  found = corpus.folder / 'mixed_features'
  status, text = corpus.run(*corpus.extract(videos, found))
  assert status == 1, text
  for name in bad:
    assert f'failed: {name}: ' in text and not (found / f'{name}.npy').exists()
  for path in features.glob('*.npy'):
    assert path.read_bytes() == (found / path.name).read_bytes()
  results = []
  for source, name, expected in (
    (corpus.videos, 'alone.json', 0),
    (videos, 'mixed.json', 1),
  ):
    output = corpus.folder / name
    status, text = corpus.run(
      'propose', f'--workdir={workdir}', f'--input={source}',
      f'--output={output}',
    )  # fmt: skip
    assert status == expected, text
    results.append(proposal_files.read(output))
  assert all(f'failed: {name}: ' in text for name in bad), text
  _check_same(*results)
  return len(bad), (
    'extract_features and propose name each, status 1; the results of the '
    'good ones are those without them'
  )


def kill_extraction(corpus: Corpus, times: int) -> str:
  """kill -9 of one of two extraction jobs; the same command again."""
  videos = corpus.folder / 'many'
  videos.mkdir()
  for k in range(24):
    name = f'good_{k % _GOOD}.mp4'
    (videos / f'v{k:02d}.mp4').symlink_to(corpus.videos / name)
  whole, output = corpus.folder / 'whole', corpus.folder / 'killed'
  status, text = corpus.run(*corpus.extract(videos, whole))
  assert status == 0, text
  kept = 0
  for _ in range(times):
    process = corpus.start(*corpus.extract(videos, output, '--shard=0/2'))
    count = len(list(output.glob('*.npy')))
    while process.poll() is None and len(list(output.glob('*.npy'))) == count:
      time.sleep(0.005)
    time.sleep(corpus.rng.uniform(0, 0.1))
    process.kill()
    process.communicate()
    kept = len(list(output.glob('*.npy')))
  for i in (0, 1):
    status, text = corpus.run(*corpus.extract(videos, output, f'--shard={i}/2'))
    assert status == 0, text
    if i == 0:
      assert f'{kept} were done before' in text, (kept, text)
  for path in whole.glob('*'):
    found, expected = (
      (one / path.name).read_bytes() for one in (output, whole)
    )
    if path.suffix == '.jsonl':
      # A line a video, in the order in which they were done.
      found, expected = set(found.splitlines()), set(expected.splitlines())
    assert found == expected, path
  return 'goes on after what was done; byte-equal to one job over all'


def kill_proposing(corpus: Corpus, features, workdir, times: int) -> str:
  """kill -9 of one of two proposing jobs; the same command again."""
  many = corpus.folder / 'many_features'
  many.mkdir()
  rows = np.load(features / 'good_0.npy')
  for k in range(300):
    tiled = np.concatenate([np.roll(rows, k, axis=0)] * 20)
    np.save(many / f'v{k:03d}.npy', tiled)
  (many / 'features.json').write_text((features / 'features.json').read_text())
  flags = lambda output, *more: (
    'propose', f'--workdir={workdir}', f'--input={many}',
    f'--output={corpus.folder / output}', *more,
  )  # fmt: skip
  status, text = corpus.run(*flags('all.json'))
  assert status == 0, text
  partial = corpus.folder / 'two.shard-0-of-2.json.partial.jsonl'
  size = lambda: partial.stat().st_size if partial.exists() else 0
  kills = 0
  for _ in range(times):
    before = size()
    process = corpus.start(*flags('two.json', '--shard=0/2'))
    while process.poll() is None and size() == before:
      time.sleep(0.002)
    time.sleep(corpus.rng.uniform(0, 0.05))
    kills += process.poll() is None
    process.kill()
    process.communicate()
  assert kills, 'no job was killed before its end'
  for i in (0, 1):
    status, text = corpus.run(*flags('two.json', f'--shard={i}/2'))
    assert status == 0, text
    if i == 0:
      assert 'videos are done already' in text, text
  _check_same(
    *(proposal_files.read(corpus.folder / f'{n}.json') for n in ('all', 'two'))
  )
  return 'goes on after what was done; the same proposals as one job over all'


def _check_same(a, b):
  assert a.keys() == b.keys()
  for name in a:
    np.testing.assert_allclose(a[name].segments, b[name].segments, atol=1e-9)
    np.testing.assert_allclose(a[name].scores, b[name].scores, atol=1e-6)


def rows(folder: pathlib.Path, times: int):
  """Yields (fault, times, outcome)."""
  corpus = Corpus(folder / 'corpus')
  features = corpus.folder / 'features'
  status, text = corpus.run(*corpus.extract(corpus.videos, features))
  assert status == 0, text
  workdir = corpus.train(features)
  count, outcome = corrupt_videos(corpus, features, workdir)
  yield 'corrupt videos among good ones', count, outcome
  yield 'kill -9 of extract_features', times, kill_extraction(corpus, times)
  outcome = kill_proposing(corpus, features, workdir, times)
  yield 'kill -9 of propose', times, outcome
