"""The flag of every command that reads videos."""

from absl import flags

ALLOW_DAMAGE = flags.DEFINE_bool(
  'allow_damage',
  False,
  'Read what is there of damaged or cut-off videos, with a warning.',
)


def apply() -> None:
  """Makes the flag what all readers of videos go by."""
  from cmsn_jax.video import video_files

  video_files.allow_damage(ALLOW_DAMAGE.value)
