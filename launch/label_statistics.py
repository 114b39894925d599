r"""Shows a data set before training: stages, durations, overlaps, advice.

    python -m launch.label_statistics --annotations=A.json --features=features/
    python -m launch.label_statistics --annotations=A.json --feature_fps=5

With --features also checks that every annotated video has features of one
width, as long as the video at that rate.
"""

from absl import flags

from . import cli

_ANNOTATIONS = flags.DEFINE_string('annotations', '', 'ActivityNet JSON.')
_FEATURES = flags.DEFINE_string(
  'features', '', 'Folder or .h5 file of features to check against.'
)
_FEATURE_FPS = flags.DEFINE_float(
  'feature_fps',
  0.0,
  'Snippets a second. 0: as features or annotations say, else 3.125, the '
  'paper\'s 25 frames a second at stride 8.',
)  # fmt: skip
_EXCLUDE_LABELS = flags.DEFINE_list(
  'exclude_labels', [], 'Labels to leave out, e.g. Ambiguous.'
)


def main(argv):
  """Prints the statistics."""
  del argv
  cli.require(annotations=_ANNOTATIONS.value)
  from cmsn_jax.annotations import activitynet
  from cmsn_jax.data import label_statistics
  from cmsn_jax.files import feature_files

  data = activitynet.read(_ANNOTATIONS.value)
  if _EXCLUDE_LABELS.value:
    data = data.without_labels(_EXCLUDE_LABELS.value)
  store = None
  if _FEATURES.value:
    store = feature_files.open_features(
      _FEATURES.value, feature_fps=_FEATURE_FPS.value or None
    )
  rate = label_statistics.stated_rate(
    data, store.feature_fps if store else _FEATURE_FPS.value or None
  )
  groups = label_statistics.by_subset(data, rate)
  print(f'label statistics at {rate:g} snippets a second')
  print(label_statistics.format_table(groups))
  print()
  print(label_statistics.format_labels(groups[-1]))
  suggestion = label_statistics.suggest(list(data.videos.values()), rate)
  if suggestion:
    print()
    print(label_statistics.format_suggestion(suggestion, rate))
  if store:
    label_statistics.check_features(data, store, rate)
    print(
      f'features: {len(store)} files, {store.dim} values a snippet, lengths fit '
      'the durations'
    )
  return 0


if __name__ == '__main__':
  cli.run(main)
