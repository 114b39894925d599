r"""Converts annotations to ActivityNet JSON and prints what is in them.

    python -m launch.convert_annotations --source=THUMOS14/ \
      --format=thumos14 --output=thumos14.json
    python -m launch.convert_annotations --source=labels.csv --format=csv \
      --durations=videos/ --output=labels.json

thumos14: a folder with the original <Class>_val.txt and <Class>_test.txt
anywhere below it; validation becomes the subset "training", test "testing".
csv: columns video, start, end, label (seconds); optionally subset, duration,
fps. Durations may come from --durations instead.
"""

from absl import flags

from . import cli, video_flags

_SOURCE = flags.DEFINE_string('source', '', 'A folder (thumos14) or a file.')
_FORMAT = flags.DEFINE_enum(
  'format', None, ['thumos14', 'csv'], 'What --source is.'
)
_OUTPUT = flags.DEFINE_string('output', '', 'The ActivityNet JSON file.')
_DURATIONS = flags.DEFINE_string(
  'durations',
  '',
  'Durations of the videos: a folder of them, a folder or .h5 file of their '
  'features, a JSON file {"id": seconds} or a CSV file (video, duration).',
)
_FEATURE_FPS = flags.DEFINE_float(
  'feature_fps',
  0.0,
  'Snippets a second: of the features in --durations, if they do not say, and '
  'for the statistics. 0: 3.125, the paper\'s 25 frames a second, stride 8.',
)  # fmt: skip
_SUBSET = flags.DEFINE_enum(
  'subset',
  'training',
  ['training', 'validation', 'testing'],
  'csv: subset of the videos for which no column states it.',
)
_PAST_END = flags.DEFINE_enum(
  'past_end',
  'keep',
  ['keep', 'drop'],
  'thumos14: what to do with instances that begin after the end of the video.',
)


def main(argv):
  """Converts."""
  del argv
  cli.require(source=_SOURCE.value, format=_FORMAT.value, output=_OUTPUT.value)
  from cmsn_jax.annotations import activitynet, importers
  from cmsn_jax.annotations import lengths as video_lengths
  from cmsn_jax.data import label_statistics

  feature_fps = _FEATURE_FPS.value
  if feature_fps < 0:
    raise ValueError(f'--feature_fps must be positive, got {feature_fps}')
  lengths = None
  if _DURATIONS.value:
    video_flags.apply()
    lengths = video_lengths.read(_DURATIONS.value, feature_fps or None)
  if _FORMAT.value == 'thumos14':
    converted = importers.thumos14(
      _SOURCE.value, lengths=lengths, past_end=_PAST_END.value
    )
  else:
    converted = importers.csv(
      _SOURCE.value, lengths=lengths, subset=_SUBSET.value
    )
  activitynet.write(_OUTPUT.value, converted)
  rate = feature_fps or label_statistics.PAPER_FEATURE_FPS
  print(f'label statistics at {rate:g} snippets a second')
  print(
    label_statistics.format_table(label_statistics.by_subset(converted, rate))
  )
  print(f'wrote {len(converted.videos)} videos to {_OUTPUT.value}')
  return 0


if __name__ == '__main__':
  cli.run(main)
