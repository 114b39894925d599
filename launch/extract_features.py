r"""Extracts features of videos: one <id>.npy a video, and features.json.

    python -m launch.extract_features --config=configs/features_i3d.py \
      --input=videos/ --output=features/

Videos whose features are there already are skipped, so a run that was stopped
goes on. A video that cannot be read is named at the end (exit status 1); the
others are done all the same. On many machines, start one job a --shard=0/n to
--shard=n-1/n, with the same --output. `launch.train` reads the folder by
--config.data.features=features/ and takes the rate from features.json.
"""

import pathlib
import sys

from absl import flags
from ml_collections import config_flags

from . import cli, engine_flags, input_flags

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'The extractor; see configs/features_*.py.', lock_config=True
)
_OUTPUT = flags.DEFINE_string('output', '', 'Folder for the features.')
_SHARD = flags.DEFINE_string(
  'shard', '0/1', 'i/n: only the i-th of n parts (i from 0), for any scheduler.'
)


def main(argv):
  """Extracts."""
  del argv
  cli.require(input=input_flags.INPUT.value, output=_OUTPUT.value)
  cli.check_outputs(folders={'output': _OUTPUT.value})
  if _CONFIG.value is None:
    raise ValueError('--config is needed, e.g. configs/features_i3d.py')
  engine = engine_flags.settings()
  cli.use_compilation_cache()
  engine_flags.announce(engine, cli.quiet())
  from cmsn_jax import sharding
  from cmsn_jax.features import feature_folder, video_features

  shard = sharding.parse(_SHARD.value)
  found = input_flags.find()
  made = video_features.from_config(_CONFIG.value.features)
  result = feature_folder.extract(
    made,
    found.videos,
    pathlib.Path(_OUTPUT.value),
    shard=shard,
    engine=engine,
    quiet=cli.quiet(),
  )
  result.failures.update(found.failures)
  print(feature_folder.summary(result, made))
  if result.failures:
    for video_id, error in result.failures.items():
      print(f'failed: {video_id}: {error}', file=sys.stderr)
    raise cli.Failed(
      f'{len(result.failures)} of {_count(result)} videos failed, the others '
      'are done'
    )
  return 0


def _count(result):
  return len(result.done) + len(result.skipped) + len(result.failures)


if __name__ == '__main__':
  cli.run(main)
