r"""Converts annotations to ActivityNet JSON and prints what is in them.

    python -m launch.convert_annotations --source=labels.csv \
      --durations=videos/ --output=labels.json
    python -m launch.convert_annotations --source=coded.xlsx \
      --columns=video=Media,label=type --where=coder=A --output=labels.json
    python -m launch.convert_annotations --source=THUMOS14/ \
      --format=thumos14 --output=thumos14.json

The format is recognised by the contents; it is printed which was taken and why,
and which column means what. docs/own_data.md lists the formats. Durations of
the recordings come from the file itself or from --durations.
"""

import sys

from absl import flags

from . import cli, video_flags

_SOURCE = flags.DEFINE_string(
  'source', '', 'A file, or a folder of files of one format.'
)
_FORMAT = flags.DEFINE_string(
  'format', 'auto', 'What --source is; auto: goes by the contents.'
)
_OUTPUT = flags.DEFINE_string('output', '', 'The ActivityNet JSON file.')
_DURATIONS = flags.DEFINE_string(
  'durations',
  '',
  'Durations of the videos: a folder of them, a folder or .h5 file of their '
  'features, a JSON file {"id": seconds} or a table (video, duration).',
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
  'Subset of the recordings for which the file states none.',
)
_FPS = flags.DEFINE_float(
  'fps', 0.0, 'Frames a second, where the file counts in frames.'
)
_UNIT = flags.DEFINE_string(
  'unit',
  'auto',
  'Of times whose unit the file does not say: seconds, milliseconds, minutes, '
  'hours, days, frames, fraction. auto: seconds, unless they do not look it.',
)
_COLUMNS = flags.DEFINE_list(
  'columns', [], 'What columns mean, e.g. video=Media,label=type.'
)
_WHERE = flags.DEFINE_multi_string(
  'where',
  [],
  'Only rows with this value, e.g. coder=A or coder=A|B; repeatable.',
)
_LABELS_FROM = flags.DEFINE_string(
  'labels_from', '', 'Columns that make the label, e.g. Behavior+Subject.'
)
_DECIMAL = flags.DEFINE_enum(
  'decimal', 'auto', ['auto', 'point', 'comma'], 'Decimal sign of a table.'
)
_POINT_EVENTS = flags.DEFINE_string(
  'point_events',
  '',
  'Events without duration: drop, or the seconds to widen them to.',
)
_BACKGROUND = flags.DEFINE_list(
  'background', [], 'Labels that mean "nothing", where every frame has one.'
)
_RECORDING = flags.DEFINE_string(
  'recording', '', 'Name of the recording, where the file is about one only.'
)
_BAD = flags.DEFINE_enum(
  'bad',
  'error',
  ['error', 'drop', 'clip'],
  'Entries that make no instance: an error, left out, or cut to what is inside '
  'the recording. All are counted.',
)
_MATCH = flags.DEFINE_enum(
  'match',
  'exact',
  ['exact', 'loose'],
  'loose: names that differ from those of --durations in case, leading zeros, '
  'prefix or suffix only are the same recording.',
)
_UNANNOTATED = flags.DEFINE_enum(
  'unannotated',
  'keep',
  ['keep', 'drop'],
  'Recordings of --durations that the annotations do not name: kept as '
  'recordings where nothing happens, or left out.',
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
  cli.require(source=_SOURCE.value, output=_OUTPUT.value)
  cli.check_outputs(files={'output': _OUTPUT.value})
  from cmsn_jax.annotations import activitynet, finishing, importers
  from cmsn_jax.annotations import lengths as video_lengths
  from cmsn_jax.data import label_statistics

  feature_fps = _FEATURE_FPS.value
  if feature_fps < 0:
    raise ValueError(f'--feature_fps must be positive, got {feature_fps}')
  lengths = None
  if _DURATIONS.value:
    video_flags.apply()
    lengths = video_lengths.read(_DURATIONS.value, feature_fps or None)
  converted = importers.convert(
    _SOURCE.value,
    format=_FORMAT.value,
    lengths=lengths,
    options=_options(),
    policy=finishing.Policy(
      _BAD.value, _MATCH.value, _UNANNOTATED.value, _PAST_END.value
    ),
  )
  for note in converted.notes:
    print(note)
  for warning in converted.warnings:
    print(f'warning: {warning}', file=sys.stderr)
  activitynet.write(_OUTPUT.value, converted.annotations)
  videos = converted.annotations.videos
  rate = feature_fps or label_statistics.PAPER_FEATURE_FPS
  groups = label_statistics.by_subset(converted.annotations, rate)
  print(f'label statistics at {rate:g} snippets a second')
  print(label_statistics.format_table(groups))
  print()
  print(label_statistics.format_labels(groups[-1]))
  print(f'wrote {len(videos)} videos to {_OUTPUT.value}')
  return 0


def _options():
  from cmsn_jax.annotations import imported

  points = _POINT_EVENTS.value
  if points and points != 'drop':
    try:
      points = float(points)
    except ValueError:
      raise ValueError(
        f'--point_events must be drop or seconds, got {points!r}'
      ) from None
  return imported.Options(
    subset=_SUBSET.value,
    fps=_FPS.value or None,
    unit=_UNIT.value,
    columns=_pairs('columns', _COLUMNS.value),
    where={
      name: tuple(value.split('|'))
      for name, value in _pairs('where', _WHERE.value).items()
    },
    labels_from=tuple(_LABELS_FROM.value.split('+'))
    if _LABELS_FROM.value
    else (),
    decimal={'auto': None, 'point': '.', 'comma': ','}[_DECIMAL.value],
    point_events=points or None,
    background=tuple(_BACKGROUND.value),
    recording=_RECORDING.value,
  )


def _pairs(flag, texts):
  pairs = {}
  for text in texts:
    name, sign, value = text.partition('=')
    if not (name and sign and value) or name in pairs:
      raise ValueError(f'--{flag}: expected NAME=VALUE once each, got {text!r}')
    pairs[name] = value
  return pairs


if __name__ == '__main__':
  cli.run(main)
