r"""Joins trimmed clips into untrimmed videos with known boundaries.

    python -m launch.join_clips --input=clips/ --background=walk,stand \
      --output=joined/

--input holds one folder of clips a class. Those of --background are what
happens between the actions; without them a picture stands still there. Writes
joined/videos/<id>.mp4 and joined/annotations.json (ActivityNet JSON); no clip
is in two subsets.
"""

import pathlib

from absl import flags

from . import cli, video_flags

_INPUT = flags.DEFINE_string('input', '', 'Folder with a folder a class.')
_OUTPUT = flags.DEFINE_string('output', '', 'Folder of what is made.')
_BACKGROUND = flags.DEFINE_list(
  'background', [], 'Classes that are no action, separated by commas.'
)
_VIDEOS = flags.DEFINE_list(
  'videos', ['24', '8', '8'], 'Videos of training, validation and testing.'
)
_SHARES = flags.DEFINE_list(
  'shares', ['.6', '.2', '.2'], "Shares of every class's clips for them."
)
_SECONDS = flags.DEFINE_float('seconds', 60.0, 'Length of a video, about.')
_PIECE_SECONDS = flags.DEFINE_list(
  'piece_seconds', ['2', '10'], 'Shortest and longest piece of a clip.'
)
_FPS = flags.DEFINE_float('fps', 25.0, 'Frames a second.')
_SIZE = flags.DEFINE_list('size', ['128', '172'], 'Height and width, even.')
_SEED = flags.DEFINE_integer('seed', 0, 'Other seeds, other videos.')


def main(argv):
  """Joins."""
  del argv
  cli.require(input=_INPUT.value, output=_OUTPUT.value)
  cli.check_outputs(folders={'output': _OUTPUT.value})
  from cmsn_jax.annotations import activitynet
  from cmsn_jax.data.synthetic import joined_clips

  video_flags.apply()
  path = joined_clips.join(
    _INPUT.value,
    pathlib.Path(_OUTPUT.value),
    background=_BACKGROUND.value,
    videos=_numbers('videos', _VIDEOS.value, int, 3),
    shares=_numbers('shares', _SHARES.value, float, 3),
    duration_sec=_SECONDS.value,
    piece_sec=_numbers('piece_seconds', _PIECE_SECONDS.value, float, 2),
    fps=_FPS.value,
    size=_numbers('size', _SIZE.value, int, 2),
    seed=_SEED.value,
    progress=not cli.quiet(),
  )
  videos = activitynet.read(path).videos.values()
  print(
    f'wrote {len(videos)} videos, {sum(v.duration_sec for v in videos):.0f} s, '
    f'{sum(len(v.labels) for v in videos)} instances: {path}'
  )
  return 0


def _numbers(name, texts, kind, count):
  try:
    values = tuple(kind(text) for text in texts)
  except ValueError:
    values = ()
  if len(values) != count:
    raise ValueError(
      f'--{name} must be {count} numbers separated by commas, got '
      f'{",".join(texts)!r}'
    )
  return values


if __name__ == '__main__':
  cli.run(main)
