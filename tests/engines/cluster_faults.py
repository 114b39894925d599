"""Kills parts of a real Ray cluster while `extract_features` runs on it.

    python -m tests.engines.cluster_faults --times=3

A head without cores and two nodes, all processes of this machine. Whatever is
killed, the features are those of one process, byte for byte; prints a row of
docs/reliability.md a fault.
"""

import argparse
import os
import pathlib
import signal
import tempfile
import time

from ray import cluster_utils

from tests.proposing import corpus_faults

_VIDEOS = 40


class Faults:
  """Videos, and their features as one process makes them."""

  def __init__(self, folder: pathlib.Path):
    self.corpus = corpus_faults.Corpus(folder)
    self.videos = folder / 'many'
    self.videos.mkdir()
    for k in range(_VIDEOS):
      target = self.corpus.videos / f'good_{k % 4}.mp4'
      (self.videos / f'v{k:02d}.mp4').symlink_to(target)
    self.whole = folder / 'whole'
    self._finish(self.whole)
    self._count = 0

  def run(self, fault, restart=False):
    """One run with a fault in its middle; how it ended."""
    self._count += 1
    output = self.corpus.folder / f'out{self._count}'
    cluster = _cluster()
    try:
      process = self._start(output, cluster)
      while len(list(output.glob('*.npy'))) < _VIDEOS // 4:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
      fault(cluster)
      text = process.communicate(timeout=600)[1]
      done = len(list(output.glob('*.npy')))
    finally:
      cluster.shutdown()
    if restart:
      assert process.returncode == 1 and done < _VIDEOS, (done, text)
      cluster = _cluster()
      try:
        self._finish(output, '--engine=ray', f'--address={cluster.address}')
      finally:
        cluster.shutdown()
    else:
      # It did hit somebody, and was no end.
      assert process.returncode == 0 and 'a worker is lost' in text, text
    names = sorted(path.name for path in self.whole.glob('*.npy'))
    assert names == sorted(path.name for path in output.glob('*.npy'))
    for name in names:
      assert (output / name).read_bytes() == (self.whole / name).read_bytes()

  def _start(self, output, cluster):
    return self.corpus.start(
      *self.corpus.extract(
        self.videos, output, '--engine=ray', f'--address={cluster.address}'
      )
    )

  def _finish(self, output, *more):
    status, text = self.corpus.run(
      *self.corpus.extract(self.videos, output, *more)
    )
    assert status == 0, text


def kill_worker(cluster):
  """kill -9 of the process of an actor that works."""
  del cluster
  for folder in pathlib.Path('/proc').iterdir():
    try:
      title = (folder / 'cmdline').read_bytes()
    except OSError:
      continue
    if title.startswith(b'ray::Actor'):
      os.kill(int(folder.name), signal.SIGKILL)
      return
  raise AssertionError('no actor works')


def kill_node(cluster):
  """kill -9 of a raylet and all that runs on it."""
  cluster.remove_node(cluster.workers[0], allow_graceful=False)


def kill_head(cluster):
  """kill -9 of what knows the cluster."""
  cluster.head_node.kill_gcs_server(check_alive=False)


def _cluster():
  # Ray's workers would yield to whatever else runs on this machine.
  os.environ.setdefault('RAY_worker_niceness', '0')
  made = cluster_utils.Cluster(
    initialize_head=True, head_node_args={'num_cpus': 0}
  )
  made.workers = [made.add_node(num_cpus=1) for _ in range(2)]
  return made


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--times', type=int, default=3)
  times = parser.parse_args().times
  with tempfile.TemporaryDirectory() as folder:
    faults = Faults(pathlib.Path(folder) / 'corpus')
    for name, fault, restart, outcome in (
      ('kill -9 of a worker', kill_worker, False, 'status 0, byte-equal'),
      ('kill -9 of a node (raylet)', kill_node, False, 'status 0, byte-equal'),
      ('kill -9 of the head', kill_head, True,
       'Ray ends the command, status 1; again on a new cluster: byte-equal'),
    ):  # fmt: skip
      for _ in range(times):
        faults.run(fault, restart)
      print(f'| {name} | {times} | {outcome} |', flush=True)


if __name__ == '__main__':
  main()
