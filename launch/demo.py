r"""The whole flow on generated videos: train, propose, evaluate, report.

python -m launch.demo --workdir=runs/demo
"""

import pathlib
import subprocess
import sys
import time

from absl import flags

from . import cli

_WORKDIR = flags.DEFINE_string('workdir', 'runs/demo', 'Folder of the demo.')
_INPUT = flags.DEFINE_enum(
  'input', 'video', ['video', 'features'],
  'Rendered video and C3D, or generated features (a minute faster).',
)  # fmt: skip
_VIDEOS = flags.DEFINE_integer('videos', 30, 'Generated sequences.', 3)
_SECONDS = flags.DEFINE_float('seconds', 60.0, 'Mean length of a sequence.')
_SMOKE = flags.DEFINE_bool(
  'smoke', False, 'A tiny network, for seconds: to see that all parts run.'
)
_ANS = (10, 20, 50, 100)


def main(argv):
  """Runs the demo."""
  del argv
  cli.use_compilation_cache()
  from cmsn_jax.proposing import corpus
  from cmsn_jax.training import setup

  # In order with what is logged, also when written to a file.
  sys.stdout.reconfigure(line_buffering=True)
  start = time.time()
  workdir = pathlib.Path(_WORKDIR.value)
  print(f'1/5 generating {_VIDEOS.value} untrimmed videos in {workdir}/data')
  config = _generate(workdir)
  print('2/5 training: stages, then evaluator')
  setup.run(config, workdir / 'run', quiet=cli.quiet())
  print('3/5 proposing for the testing videos')
  output = workdir / 'proposals.json'
  stages = workdir / 'stages'
  corpus.propose(
    workdir / 'run',
    config.data.videos or config.data.features,
    output,
    annotations=config.data.annotations,
    subset='testing',
    save_stages=str(stages),
    quiet=cli.quiet(),
  )
  print('4/5 evaluating')
  print(_evaluate(config.data.annotations, output))
  print('5/5 writing the report')
  _report(config, output, stages, workdir / 'report.html')
  print(
    f'done in {time.time() - start:.0f} s; look at {workdir}/report.html and '
    f'{workdir}/proposals.json'
  )
  return 0


def _generate(workdir):
  """Writes the data; returns the config of a run on them."""
  from cmsn_jax.data.synthetic import features
  from cmsn_jax.data.synthetic import video as synthetic_video
  from cmsn_jax.settings import demo, smoke

  video = _INPUT.value == 'video'
  maker = synthetic_video if video else features
  annotations = maker.generate(
    workdir / 'data', num_videos=_VIDEOS.value, duration_sec=_SECONDS.value
  )
  config = demo.get_config('' if video else 'features')
  config = smoke.apply(config, 'smoke' if _SMOKE.value else None)
  config.data.annotations = str(annotations)
  if video:
    config.data.videos = str(workdir / 'data' / 'videos')
    config.data.frames_cache = str(workdir / 'frames')
  else:
    config.data.features = str(workdir / 'data' / 'features')
  return config


def _evaluate(annotations, output):
  import numpy as np

  from cmsn_jax.annotations import activitynet as annotations_lib
  from cmsn_jax.evaluation import metrics
  from cmsn_jax.files import proposal_files

  videos = annotations_lib.read(annotations).subset('testing')
  truth = {video_id: video.segments for video_id, video in videos.items()}
  found = {
    video_id: (p.segments, p.scores)
    for video_id, p in proposal_files.read(output).items()
  }
  durations = np.concatenate([np.diff(s, axis=1)[:, 0] for s in truth.values()])
  chance = random_proposals(truth, durations)
  return table(
    [
      (protocol, name, metrics.evaluate(p, truth, protocol=protocol, ans=_ANS))
      for protocol in ('thumos', 'top_k')
      for name, p in (('CMSN', found), ('random', chance))
    ]
  )


def _report(config, output, stages, path):
  """Runs the command report, whose flags have names that ours have too."""
  flags_ = [
    f'--proposals={output}',
    f'--annotations={config.data.annotations}',
    '--subset=testing',
    f'--stages={stages}',
    f'--output={path}',
  ]
  if config.data.videos:
    flags_.append(f'--videos={config.data.videos}')
  report = f'{__package__}.report'
  subprocess.run([sys.executable, '-m', report, *flags_], check=True)


def random_proposals(truth, durations, number=1000, seed=0):
  """Proposals of the training durations at random places, as a yardstick."""
  import numpy as np

  rng = np.random.default_rng(seed)
  found = {}
  for video_id, segments in truth.items():
    length = rng.choice(durations, number)
    start = rng.uniform(0, max(segments.max(initial=1.0), 1.0), number)
    found[video_id] = (
      np.stack([start, start + length], axis=1),
      rng.uniform(size=number),
    )
  return found


def table(rows) -> str:
  """Rows of (protocol, name, Metrics) as aligned text."""
  lines = [
    f'{"protocol":<10}{"proposals":<11}'
    + ''.join(f'{f"AR@{an}":>9}' for an in _ANS)
  ]
  for protocol, name, result in rows:
    cells = [result.ar_at_an[an] for an in _ANS]
    lines.append(
      f'{protocol:<10}{name:<11}'
      + ''.join('        -' if c is None else f'{c:>9.3f}' for c in cells)
    )
  return '\n'.join(lines)


if __name__ == '__main__':
  cli.run(main)
