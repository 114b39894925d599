"""Flags that say which videos are meant; of several commands."""

from absl import flags, logging

from . import video_flags

INPUT = flags.DEFINE_multi_string(
  'input',
  [],
  'A video, a folder or pattern of videos (** goes through folders), a list '
  '(.txt), a folder of pictures; may be given several times.',
)
IDS = flags.DEFINE_enum(
  'ids',
  'name',
  ['name', 'path'],
  "'path' keeps folders in the ids: day2/GX01.MP4 is day2__GX01.",
)
RECURSIVE = flags.DEFINE_bool(
  'recursive', False, 'Also what lies in folders below; ids keep these.'
)
FPS = flags.DEFINE_float(
  'fps', 0.0, 'Pictures a second, where the input is pictures.'
)


def find():
  """The videos that the flags name, as `finding.Found`; notes are told.

  Raises:
    ValueError: no video at all, or an input that cannot be one.
  """
  from cmsn_jax.video import finding

  video_flags.apply()
  found = finding.find(
    INPUT.value,
    ids=IDS.value,
    recursive=RECURSIVE.value,
    fps=FPS.value or None,
  )
  for note in found.notes:
    logging.info('%s', note)
  return found
