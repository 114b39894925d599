"""The command, on a file as a camera would be, and on lines of text."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from cmsn_jax.files import proposal_files
from tests.proposing import corpus_faults


def _run(corpus, *flags, text=None):
  return subprocess.run(
    [sys.executable, '-m', 'launch.live', *flags],
    cwd=corpus_faults.ROOT, input=text, capture_output=True, text=True,
    env={**os.environ, 'PYTHONPATH': str(corpus.folder)}, check=False,
  )  # fmt: skip


@pytest.mark.slow
def test_a_file_and_its_rows_give_the_same_lines(tmp_path):
  corpus = corpus_faults.Corpus(tmp_path / 'corpus')
  features = corpus.folder / 'features'
  status, text = corpus.run(*corpus.extract(corpus.videos, features))
  assert status == 0, text
  workdir = corpus.train(features)
  flags = (f'--workdir={workdir}', '--latency=2')
  output = tmp_path / 'live.jsonl'
  done = _run(
    corpus, *flags, f'--input={corpus.videos}/good_0.mp4', f'--output={output}'
  )
  assert done.returncode == 0, done.stderr
  assert (
    'proposals at most ' in done.stderr and '0 proposals' not in done.stderr
  )
  told = [json.loads(line) for line in done.stdout.splitlines()]
  assert told and {one['video'] for one in told} == {'good_0'}
  for one in told:
    assert 0 <= one['segment'][0] < one['segment'][1] <= 10.1
  # Told while it ran, not at its end alone.
  assert len({one['at'] for one in told}) > 2
  (found,) = proposal_files.read(output).values()
  assert len(found.scores) == len(told)
  rows = np.load(features / 'good_0.npy')
  lines = ''.join(' '.join(map(repr, row.tolist())) + '\n' for row in rows)
  done = _run(corpus, *flags, '--input=stdin', '--name=good_0', text=lines)
  assert done.returncode == 0, done.stderr
  again = [json.loads(line) for line in done.stdout.splitlines()]
  # Rows that come together are told of together, best first.
  assert sorted(one['segment'] for one in again) == sorted(
    one['segment'] for one in told
  )
  for flag, message in (
    ('--input=none.mp4', 'no such file'),
    ('--output=x.json', 'ends in .jsonl'),
    ('--latency=0', 'latency_sec must be given'),
    ('--max_per_minute=2', 'needs the whole recording'),
  ):
    done = _run(corpus, *flags, '--input=stdin', flag, text=lines)
    assert done.returncode == 2, (flag, done.stderr)
    assert message in done.stderr.splitlines()[-1]
