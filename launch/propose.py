r"""Writes proposals for features or videos, with a trained run.

    python -m launch.propose --workdir=runs/mine --input=features/ \
      --output=proposals.json
    python -m launch.propose --workdir=runs/mine --input=features/ \
      --output=final.json --best=f1 --non_overlapping
    python -m launch.propose --workdir=runs/mine --input=features/ \
      --output=detections.json --labels=all
"""

import pathlib

from absl import flags

from . import cli, engine_flags, final_flags, input_flags

_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of a trained run.')
_OUTPUT = flags.DEFINE_string('output', '', 'Proposals, ActivityNet JSON.')
_CSV = flags.DEFINE_string('csv', '', 'The same as CSV, if wanted.')
_ANNOTATIONS = flags.DEFINE_string(
  'annotations', '', 'Take only the videos of --subset of this file.'
)
_SUBSET = flags.DEFINE_string('subset', '', 'Subset of --annotations.')
_FEATURE_FPS = flags.DEFINE_float(
  'feature_fps', 0.0, 'Snippets a second of the features, if they do not say.'
)
_FORMAT = flags.DEFINE_enum(
  'format',
  'json',
  [
    'json', 'csv', 'boris', 'elan', 'audacity', 'via', 'srt', 'webvtt',
    'deepethogram',
  ],
  'Also write them for another program, beside --output; see '
  'launch.convert_proposals, which can choose the best of them.',
)  # fmt: skip
_PHASE = flags.DEFINE_string(
  'phase',
  'all',
  "The last phase whose parameters are used: 'stages' leaves the paper chain's "
  'evaluator out.',
)
_SAVE_STAGES = flags.DEFINE_string(
  'save_stages', '', 'Folder for stage probabilities, which the report shows.'
)
_APPEND = flags.DEFINE_bool(
  'append', False, 'Keep what --output holds of other inputs.'
)
_PLOTS = flags.DEFINE_string(
  'plots', '', 'Folder for a picture of each video: proposals, stages, truth.'
)
_KEEP_FEATURES = flags.DEFINE_bool(
  'keep_features',
  False,
  'Keep features extracted from videos in <output>_features/, beside the '
  'output: a stopped video goes on where it was, another run reads them.',
)
_LABELS = flags.DEFINE_enum(
  'labels', 'best', ['best', 'all', 'none'],
  'What happens in each proposal: its likeliest label; a row a likely label, '
  'the score times its probability (for mAP); nothing.',
)  # fmt: skip
_VIDEO_LABELS = flags.DEFINE_string(
  'video_labels', '',
  'JSON with scores of labels of whole videos, from any classifier: a row a '
  'likely label of the video, the score times it; see docs/protocols.md.',
)  # fmt: skip
_VIDEO_LABELS_TOP = flags.DEFINE_integer(
  'video_labels_top', 2, 'Labels of a video that count, of --video_labels.'
)
_SHARD = flags.DEFINE_string(
  'shard', '0/1', 'i/n: only the i-th of n parts (i from 0), for any scheduler.'
)


def main(argv):
  """Proposes."""
  del argv
  cli.require(
    workdir=_WORKDIR.value, input=input_flags.INPUT.value, output=_OUTPUT.value
  )
  cli.check_outputs(
    files={'output': _OUTPUT.value, 'csv': _CSV.value},
    folders={'save_stages': _SAVE_STAGES.value, 'plots': _PLOTS.value},
  )
  engine = engine_flags.settings()
  cli.use_compilation_cache()
  engine_flags.announce(engine, cli.quiet())
  from cmsn_jax import sharding
  from cmsn_jax.proposing import corpus, video_labels

  workdir = pathlib.Path(_WORKDIR.value)
  phase = None if _PHASE.value == 'all' else _PHASE.value
  known = None
  if _VIDEO_LABELS.value:
    known = video_labels.read(_VIDEO_LABELS.value, _VIDEO_LABELS_TOP.value)
  elif _VIDEO_LABELS_TOP.present:
    raise ValueError('--video_labels_top is for --video_labels=scores.json')
  run, settings = final_flags.load(workdir, phase)
  failures = corpus.propose(
    run,
    input_flags.INPUT.value,
    pathlib.Path(_OUTPUT.value),
    csv=_CSV.value or None,
    annotations=_ANNOTATIONS.value or None,
    subset=_SUBSET.value or None,
    find=input_flags.find,
    feature_fps=_FEATURE_FPS.value or None,
    settings=settings,
    save_stages=_SAVE_STAGES.value or None,
    keep_features=_features_folder() if _KEEP_FEATURES.value else None,
    shard=sharding.parse(_SHARD.value),
    append=_APPEND.value,
    labels=_LABELS.value,
    video_labels=known,
    engine=engine,
    quiet=cli.quiet(),
  )
  if _PLOTS.value and pathlib.Path(_OUTPUT.value).exists():
    _draw()
  if _FORMAT.value != 'json' and pathlib.Path(_OUTPUT.value).exists():
    _convert()
  if failures:
    for video_id, error in failures.items():
      print(f'failed: {video_id}: {error}')
    raise cli.Failed(f'{len(failures)} videos failed, the others are done')
  return 0


def _convert():
  from cmsn_jax.annotations import activitynet
  from cmsn_jax.files import event_formats, proposal_files

  known = {}
  if _ANNOTATIONS.value:
    known = activitynet.read(_ANNOTATIONS.value).videos
  found = proposal_files.read(_OUTPUT.value)
  target = str(pathlib.Path(_OUTPUT.value).with_suffix(''))
  target += event_formats.SUFFIXES[_FORMAT.value]
  event_formats.write(
    target,
    _FORMAT.value,
    {k: event_formats.events_of(proposals) for k, proposals in found.items()},
    {
      k: event_formats.About(v.duration_sec, v.fps or 0.0)
      for k, v in known.items()
    },
  )
  print(f'wrote {target}')


def _features_folder():
  output = pathlib.Path(_OUTPUT.value)
  return output.with_name(f'{output.stem}_features')


def _draw():
  from cmsn_jax.annotations import activitynet
  from cmsn_jax.files import proposal_files
  from cmsn_jax.report import page, timelines

  truth = None
  if _ANNOTATIONS.value:
    known = activitynet.read(_ANNOTATIONS.value)
    truth = known.subset(_SUBSET.value) if _SUBSET.value else known.videos
  entries = page.entries(
    proposal_files.read(_OUTPUT.value), truth, _SAVE_STAGES.value or None
  )
  number = timelines.write_folder(_PLOTS.value, entries)
  print(f'drew {number} videos in {_PLOTS.value}')


if __name__ == '__main__':
  cli.run(main)
