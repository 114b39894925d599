r"""Trains the feature extractor as a classifier of clips, as on UCF-101.

C3D, or either stream of the two-stream network (configs/pretrain_stream.py).

    python -m launch.pretrain --config=configs/pretrain_ucf101.py \
      --workdir=runs/ucf101 --output=weights/c3d_ucf101 \
      --config.data.folder=UCF-101

The folder holds one folder of videos a class (or train/ and validation/ with
those); --config.data.tfds=NAME reads a TFDS data set instead. The output is a
weight folder for --config.extractor.weights of launch.train: the extractor
that did best on the validation clips. The same command continues a stopped run.
"""

import pathlib

from absl import flags
from ml_collections import config_flags

from . import cli, distributed, ending, video_flags

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'The run; see configs/pretrain_*.py.', lock_config=True
)
_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of the run.')
_OUTPUT = flags.DEFINE_string('output', '', 'Folder for the weights.')


def main(argv):
  """Trains."""
  del argv
  cli.require(
    config=_CONFIG.value, workdir=_WORKDIR.value, output=_OUTPUT.value
  )
  cli.check_outputs(folders={'output': _OUTPUT.value})
  cli.use_compilation_cache()
  distributed.announce_devices(cli.quiet())
  from cmsn_jax.pretraining import c3d, stream
  from cmsn_jax.training import phase_run

  config = _CONFIG.value
  training = c3d
  if config.extractor.name in stream.NAMES:
    training = stream
  video_flags.apply()
  train, validation = open_clips(config)
  print(
    f'{len(train)} training and {len(validation)} validation clips of '
    f'{len(train.classes)} classes'
  )
  try:
    with ending.explained():
      metrics = training.train_and_evaluate(
        config,
        pathlib.Path(_WORKDIR.value),
        train,
        validation,
        output=pathlib.Path(_OUTPUT.value),
        quiet=cli.quiet(),
      )
  except phase_run.Interrupted as stopped:
    print(stopped)
    return 0
  print(
    f'validation accuracy {metrics["accuracy"]:.4f} '
    f'(top 5 {metrics["top5"]:.4f}), best {metrics["best_accuracy"]:.4f}; '
    f'weights: {_OUTPUT.value}'
  )
  return 0


def open_clips(config):
  """(training clips, validation clips) that a config names."""
  if bool(config.data.folder) == bool(config.data.tfds):
    raise ValueError(
      'give either --config.data.folder (one folder of videos a class) or '
      '--config.data.tfds (a TFDS data set)'
    )
  if config.data.tfds:
    # TFDS brings TensorFlow: only where it is asked for.
    from cmsn_jax.data.builders import clips as tfds_clips

    return tfds_clips.open_dataset(
      config.data.tfds,
      size=tuple(config.video.size),
      data_dir=config.data.tfds_dir,
    )
  from cmsn_jax.pretraining import clips

  return clips.open_folder(
    config.data.folder,
    fps=config.video.fps,
    size=tuple(config.video.size),
    train_list=config.data.train_list,
    validation_list=config.data.validation_list,
    holdout=config.data.holdout,
  )


if __name__ == '__main__':
  cli.run(main)
