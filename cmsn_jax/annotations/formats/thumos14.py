"""THUMOS14: its original folders, and the tables that are made of them."""

import os
import re

from cmsn_jax.annotations import imported, sample
from cmsn_jax.annotations import thumos14 as thumos14_files
from cmsn_jax.annotations.formats import csv as csv_format

# The usual evaluation table numbers the classes in the order of their names;
# -1 is Ambiguous.
_CLASSES = (
  'BaseballPitch', 'BasketballDunk', 'Billiards', 'CleanAndJerk',
  'CliffDiving', 'CricketBowling', 'CricketShot', 'Diving', 'FrisbeeCatch',
  'GolfSwing', 'HammerThrow', 'HighJump', 'JavelinThrow', 'LongJump',
  'PoleVault', 'Shotput', 'SoccerPenalty', 'TennisSwing', 'ThrowDiscus',
  'VolleyballSpiking',
)  # fmt: skip
_NUMBERS = {str(k): name for k, name in enumerate(_CLASSES)} | {
  '-1': 'Ambiguous'
}


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  if file.is_folder:
    for parent, folders, names in os.walk(file.path, followlinks=True):
      depth = os.path.relpath(parent, file.path).count(os.sep)
      if depth >= 2:
        folders.clear()
      if any(re.fullmatch(r'[A-Z]\w+_(val|test)\.txt', name) for name in names):
        return 'a folder with <Class>_val.txt or <Class>_test.txt'
    return None
  if file.table is None or csv_format.recognise(file) is None:
    return None
  if any(
    thumos14_files.are_ids({row.cells[k] for row in file.table.rows[:20]})
    for k in range(len(file.table.header))
  ):
    return "a table of THUMOS14's videos"
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """The annotations in a table of THUMOS14's videos."""
  result = csv_format.read(file, options)
  result.past_end_known = True
  for name, recording in result.recordings.items():
    if recording.subset is None:
      recording.subset = thumos14_files.SUBSETS[
        'val' if 'validation' in name else 'test'
      ]
  result.notes.append(
    "validation videos are the subset training, test videos testing: THUMOS14's "
    'training videos are trimmed'
  )
  labels = {
    one.label for r in result.recordings.values() for one in r.instances
  }
  if labels <= set(_NUMBERS):
    for recording in result.recordings.values():
      recording.instances = [
        imported.Instance(
          one.start_sec, one.end_sec, _NUMBERS[one.label], one.where
        )
        for one in recording.instances
      ]
    result.notes.append(
      'class numbers are read as the names in alphabetical order, -1 as Ambiguous'
    )
  return result
