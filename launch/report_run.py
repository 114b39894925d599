"""A trained run for the report: proposals for videos whose truth is known."""

import contextlib
import pathlib

from absl import flags, logging

from . import cli

WORKDIR = flags.DEFINE_string(
  'workdir',
  '',
  'A trained run in place of --proposals: proposes for its held-out videos, or '
  'those of --input and --annotations, and shows which step loses the recall.',
)
INPUT = flags.DEFINE_string(
  'input', '', 'Features or videos for --workdir; by default held-out videos.'
)
_FEATURE_FPS = flags.DEFINE_float(
  'feature_fps', 0.0, 'Snippets a second of --input, if it does not say.'
)
_PHASE = flags.DEFINE_string(
  'phase', 'all', 'The last phase of --workdir whose parameters are used.'
)


def diagnosed(annotations, subset):
  """(ground truth by id, feature rates by id, `step_losses.Diagnosis`).

  Args:
    annotations: what is known of the videos of --input, or None.
    subset: of them, or ''.
  Raises:
    ValueError: of flags that do not go together, or data that cannot be read.
  """
  from cmsn_jax.runs import trained
  from cmsn_jax.training import setup

  cli.use_compilation_cache()
  workdir = pathlib.Path(WORKDIR.value)
  phase = None if _PHASE.value == 'all' else _PHASE.value
  run = trained.load(workdir, phase)
  if INPUT.value:
    return _of_input(run, annotations, subset)
  _, data = setup.open_run(run.config, workdir)
  if not data.held_out:
    raise ValueError(
      f'{workdir} has no held-out videos to look at; give --input and '
      '--annotations of others, or train with --config.data.holdout=0.2'
    )
  return _diagnosed(run, data.source, data.held_out)


def _of_input(run, annotations, subset):
  from cmsn_jax.proposing import inputs

  if annotations is None:
    raise ValueError('--input needs --annotations: recall is of known segments')
  known = annotations.subset(subset) if subset else annotations.videos
  failures = {}
  with contextlib.ExitStack() as stack:
    opened = inputs.open_source(
      run, INPUT.value, _FEATURE_FPS.value or None, failures, stack, None, known
    )
    videos = {k: v for k, v in known.items() if k in opened.seconds}
    for video_id in known.keys() & failures.keys():
      logging.error('%s: %s', video_id, failures[video_id])
    if not videos:
      raise ValueError(
        f'--input={INPUT.value} has none of the {len(known)} annotated videos; '
        f'it has {", ".join(list(opened.seconds)[:5]) or "nothing to read"}'
      )
    return _diagnosed(run, opened.source, videos)


def _diagnosed(run, source, videos):
  from cmsn_jax import progress
  from cmsn_jax.data import sources
  from cmsn_jax.evaluation import step_recall
  from cmsn_jax.training import step_losses

  with progress.bar(
    total=len(videos), desc='propose', unit='video', quiet=cli.quiet()
  ) as bar:
    result = step_losses.diagnose(
      run.predictor,
      source,
      {k: v.segments for k, v in videos.items()},
      on_error=lambda video_id, why: logging.error('%s: %s', video_id, why),
      on_video=lambda _: bar.update(),
    )
  print(step_recall.table(result.steps))
  rates = {
    k: source.feature_fps / sources.clock(source, k).stretch
    for k in result.found
  }
  return {k: videos[k] for k in result.found}, rates, result
