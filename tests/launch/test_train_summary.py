"""The last line of launch.train."""

import pathlib
import subprocess
import sys

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_mean_average_precision_stands_beside_recall():
  # In a process of its own: commands define flags of the same names.
  code = """
from launch import train
assert train._recall({'ar_50': 0.5, 'map': 0.25, 'x': 1.0}) == (
  '; held-out videos: AR@50 0.500, mAP 0.250'
)
assert train._recall({'ar_50': 0.5}) == '; held-out videos: AR@50 0.500'
assert 'no AR' in train._recall({})
"""
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=_ROOT, capture_output=True, text=True,
    timeout=120,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
