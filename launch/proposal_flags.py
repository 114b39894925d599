"""Flags that say how files of proposals are to be read; of several commands."""

from absl import flags

PROPOSALS_IN = flags.DEFINE_enum(
  'proposals_in',
  'auto',
  ['auto', 'seconds', 'frames', 'fractions'],
  'Unit of the times in --proposals, where they do not tell.',
)
PROPOSALS_FPS = flags.DEFINE_float(
  'proposals_fps', 0.0, 'Frames a second of times in frames; 0: of annotations.'
)


def clock(videos):
  """What is known of the time of videos (by id), and what the flags say."""
  from cmsn_jax.files import proposal_sources

  return proposal_sources.clock_of(
    videos, PROPOSALS_FPS.value, PROPOSALS_IN.value
  )
