"""Flags that say how feature files are to be read; of several commands."""

from absl import flags

FEATURE_FPS = flags.DEFINE_float(
  'feature_fps', 0.0, 'Rows (snippets) a second of the features, if not stated.'
)
FEATURE_WINDOW = flags.DEFINE_float(
  'feature_window', 0.0, 'Frames that a row is computed from; 0: its stride.'
)
FEATURE_STRIDE = flags.DEFINE_float(
  'feature_stride',
  0.0,
  'Frames from a row to the next; 0: feature_fps says it.',
)
FEATURE_OFFSET = flags.DEFINE_float(
  'feature_offset', 0.0, 'Frame at which the first window begins.'
)
RESCALED = flags.DEFINE_bool(
  'rescaled', False, 'Every recording was stretched to one number of rows.'
)
FEATURE_KEY = flags.DEFINE_string(
  'feature_key', '', "Which array of each recording's file is the features."
)


def stated():
  """What the flags say, as `feature_timing.Stated`."""
  from cmsn_jax.data import feature_timing

  return feature_timing.Stated(
    FEATURE_FPS.value,
    FEATURE_WINDOW.value,
    FEATURE_STRIDE.value,
    FEATURE_OFFSET.value,
    RESCALED.value,
  )
