r"""Makes features of tracked body parts: DeepLabCut, SLEAP and others.

    python -m launch.pose_features --input=poses/ --fps=25 \
      --axis=tail_base,nose --output=features/

Reads DeepLabCut's and Lightning Pose's CSV and HDF5, SLEAP's analysis HDF5,
OpenPose's and MediaPipe's JSON; writes <recording>.npy and features.json. Points
of low likelihood are masked and filled in over time. Presets: egocentric (parts
relative to the animal's centre, in body sizes), distances (between parts),
velocity (of centre and parts, a second), social (between animals).
"""

import json
import os

from absl import flags

from . import cli

_INPUT = flags.DEFINE_string('input', '', 'A file of positions, or a folder.')
_OUTPUT = flags.DEFINE_string('output', '', 'Folder for the features.')
_FPS = flags.DEFINE_float('fps', 0.0, 'Frames a second of the videos.')
_PRESETS = flags.DEFINE_list(
  'presets',
  ['egocentric', 'distances', 'velocity', 'social'],
  'Blocks of features.',
)
_MIN_LIKELIHOOD = flags.DEFINE_float(
  'min_likelihood', 0.6, 'Points of lower likelihood are filled in.'
)
_AXIS = flags.DEFINE_list(
  'axis', [], 'Two parts, rear and front: features turn with the animal.'
)


def main(argv):
  """Writes the features."""
  del argv
  cli.require(input=_INPUT.value, output=_OUTPUT.value, fps=_FPS.value)
  if not _FPS.value > 0:
    raise ValueError(f'--fps must be positive, got {_FPS.value:g}')
  if len(_AXIS.value) not in (0, 2):
    raise ValueError(
      f'--axis must be two parts, rear,front, got {",".join(_AXIS.value)!r}'
    )
  cli.check_outputs(folders={'output': _OUTPUT.value})
  import numpy as np

  from cmsn_jax.features import pose
  from cmsn_jax.files import pose_files, replacing

  files = _files(pose_files)
  done, failures, names = 0, {}, None
  for recording, path in files.items():
    try:
      made = pose.make(
        pose_files.read(path),
        _FPS.value,
        presets=tuple(_PRESETS.value),
        min_likelihood=_MIN_LIKELIHOOD.value,
        axis=tuple(_AXIS.value) or None,
      )
      if names not in (None, made.names):
        raise ValueError(
          f'{path}: has other animals or body parts than the files before it: '
          f'{made.features.shape[1]} features, they have {len(names)}'
        )
    except (ValueError, OSError) as problem:
      text = str(problem)
      failures[path] = text if path in text else f'{path}: {text}'
      continue
    names = made.names
    target = os.path.join(_OUTPUT.value, f'{recording}.npy')
    with replacing.file(target, 'wb') as file:
      np.save(file, made.features)
    done += 1
    print(
      f'{recording}: {len(made.features)} frames, {made.masked:.1%} of the points '
      f'filled in, the longest gap {made.longest_gap_sec:.1f} s'
    )
  if names:
    sidecar = {'feature_fps': _FPS.value, 'dim': len(names), 'names': names}
    with replacing.file(os.path.join(_OUTPUT.value, 'features.json')) as file:
      json.dump(sidecar, file, indent=1)
    print(f'{done} recordings, {len(names)} features, {_FPS.value:g} a second')
  if failures:
    for text in failures.values():
      print(f'failed: {text}')
    raise cli.Failed(f'{len(failures)} of {len(files)} files failed')
  return 0


def _files(pose_files):
  """Files of positions by recording."""
  if not os.path.isdir(_INPUT.value):
    return {pose_files.recording(_INPUT.value): _INPUT.value}
  found = {}
  for name in sorted(os.listdir(_INPUT.value)):
    if not name.lower().endswith(pose_files.SUFFIXES) or name.startswith('.'):
      continue
    recording = pose_files.recording(name)
    if recording in found:
      raise ValueError(
        f'{_INPUT.value}: {os.path.basename(found[recording])} and {name} are of '
        'one recording; keep one'
      )
    found[recording] = os.path.join(_INPUT.value, name)
  if not found:
    raise ValueError(
      f'{_INPUT.value}: found no file of positions '
      f'({", ".join(pose_files.SUFFIXES)})'
    )
  return found


if __name__ == '__main__':
  cli.run(main)
