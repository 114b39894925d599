r"""Writes proposals as the files of annotation programs.

    python -m launch.convert_proposals --input=proposals.json --format=boris \
      --top=20 --output=events.tsv
    python -m launch.convert_proposals --input=proposals.json --format=elan \
      --min_score=.3 --videos=videos/ --output=elan/

csv, boris: one file; with --output=….boris a project that BORIS opens, else a
table of aggregated events. elan, audacity, via, srt, webvtt, deepethogram: a
folder with one file a video. --input may be whatever launch.evaluate reads.
"""

import os

from absl import flags

from . import cli, proposal_flags

_INPUT = flags.DEFINE_string(
  'input', '', 'Proposals: JSON, or what launch.evaluate reads.'
)
_FORMAT = flags.DEFINE_enum(
  'format',
  None,
  [
    'csv', 'boris', 'elan', 'audacity', 'via', 'srt', 'webvtt', 'deepethogram',
  ],
  'Whose files to write.',
)  # fmt: skip
_OUTPUT = flags.DEFINE_string('output', '', 'The file (csv, boris) or folder.')
_ANNOTATIONS = flags.DEFINE_string(
  'annotations', '', 'Durations and frames a second of the videos, if needed.'
)
_VIDEOS = flags.DEFINE_string(
  'videos', '', 'Folder of the videos: names and durations of their files.'
)
_TOP = flags.DEFINE_integer(
  'top', 0, "A video's best that are written; 0: all."
)
_MIN_SCORE = flags.DEFINE_float(
  'min_score', None, 'Proposals of lower scores are left out.'
)
_FPS = flags.DEFINE_float(
  'fps', 0.0, 'Frames a second of the videos, for deepethogram.'
)


def main(argv):
  """Converts."""
  del argv
  cli.require(input=_INPUT.value, format=_FORMAT.value, output=_OUTPUT.value)
  whole = _FORMAT.value in ('csv', 'boris')
  cli.check_outputs(
    files={'output': _OUTPUT.value} if whole else {},
    folders={} if whole else {'output': _OUTPUT.value},
  )
  from cmsn_jax.annotations import activitynet
  from cmsn_jax.files import event_formats, proposal_sources
  from cmsn_jax.video import video_files

  known = {}
  if _ANNOTATIONS.value:
    known = activitynet.read(_ANNOTATIONS.value).videos
  found = proposal_sources.read(_INPUT.value, proposal_flags.clock(known))
  media = {}
  if _VIDEOS.value:
    media = {
      name: os.path.basename(path)
      for name, path in video_files.find_videos(_VIDEOS.value).items()
    }
  videos = {
    video_id: event_formats.events_of(
      proposals, top=_TOP.value, min_score=_MIN_SCORE.value
    )
    for video_id, proposals in found.items()
  }
  about = {
    video_id: event_formats.About(
      known[video_id].duration_sec if video_id in known else 0.0,
      _FPS.value or (video_id in known and known[video_id].fps) or 0.0,
      media.get(video_id, ''),
    )
    for video_id in videos
  }
  files = event_formats.write(_OUTPUT.value, _FORMAT.value, videos, about)
  count = sum(map(len, videos.values()))
  total = sum(len(proposals.scores) for proposals in found.values())
  print(
    f'wrote {count} of {total} proposals of {len(videos)} videos to '
    f'{_OUTPUT.value}' + (f' ({len(files)} files)' if not whole else '')
  )
  if count == total and not (_TOP.value or _MIN_SCORE.present):
    print('all of them: --top=20 or --min_score=.3 leaves the weak ones out')
  return 0


if __name__ == '__main__':
  cli.run(main)
