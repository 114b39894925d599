r"""Shows a data set before training: stages, durations, overlaps, advice.

    python -m launch.label_statistics --annotations=A.json --features=features/
    python -m launch.label_statistics --annotations=A.json --feature_fps=5

With --videos the annotated durations are compared with the files'. With
--features also reads them: whether every annotated video has some, of one
width, finite, and as long as the video at that rate. Where nothing says a rate,
3.125 snippets a second are taken, the paper's 25 frames at stride 8.
"""

from absl import flags

from . import cli, feature_flags, video_flags

_ANNOTATIONS = flags.DEFINE_string('annotations', '', 'ActivityNet JSON.')
_FEATURES = flags.DEFINE_string(
  'features',
  '',
  'Folder or .h5 file of features to check against; several with commas.',
)
_VIDEOS = flags.DEFINE_string(
  'videos', '', 'Folder of the videos, whose durations are compared.'
)
_EXCLUDE_LABELS = flags.DEFINE_list(
  'exclude_labels', [], 'Labels to leave out, e.g. Ambiguous.'
)


def main(argv):
  """Prints the statistics."""
  del argv
  cli.require(annotations=_ANNOTATIONS.value)
  from cmsn_jax.annotations import activitynet
  from cmsn_jax.data import feature_checks, feature_timing, label_statistics
  from cmsn_jax.files import feature_concat

  data = activitynet.read(_ANNOTATIONS.value)
  if _EXCLUDE_LABELS.value:
    data = data.without_labels(_EXCLUDE_LABELS.value)
  store = None
  if _FEATURES.value:
    store = feature_concat.open_features(
      _FEATURES.value, key=feature_flags.FEATURE_KEY.value or None
    )
  timing = feature_timing.resolve(
    feature_flags.stated(),
    store.sidecar if store else None,
    data.videos,
    default=label_statistics.PAPER_FEATURE_FPS,
  )
  rate = feature_timing.typical_rate(timing, store, data.videos)
  groups = label_statistics.by_subset(data, rate)
  print(f'label statistics at {rate:g} snippets a second')
  print(label_statistics.format_table(groups))
  print()
  print(label_statistics.format_labels(groups[-1]))
  suggestion = label_statistics.suggest(list(data.videos.values()), rate)
  if suggestion:
    print()
    print(label_statistics.format_suggestion(suggestion, rate))
  if timing.line():
    print(timing.line())
  if _VIDEOS.value:
    video_flags.apply()
    from cmsn_jax.annotations import lengths

    print('\n'.join(lengths.compare(data, _VIDEOS.value)))
  if store:
    durations = {k: v.duration_sec for k, v in data.videos.items()}
    found = feature_checks.check(store, durations, timing, values=True)
    print('\n'.join(found.lines()))
    others = len(set(store.ids) - set(durations))
    if others:
      print(f'{others} recordings in {store.path} are not annotated')
  return 0


if __name__ == '__main__':
  cli.run(main)
