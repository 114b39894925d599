r"""Proposals of a recording that still runs, a line of JSON each.

    python -m launch.live --workdir=runs/mine --input=camera --best=f1
    python -m launch.live --workdir=runs/mine --input=rtsp://10.0.0.7/stream \
      --output=live.jsonl
    tracker | python -m launch.live --workdir=runs/mine --input=stdin

A proposal is printed at most --latency seconds after its end and is not taken
back. Ctrl-C ends a recording, and what is left is printed. Frames that come faster than they can be worked on are dropped and
counted; times stay right. --output adds the lines to a file that
launch.report, launch.evaluate and launch.convert_proposals read, also while it
grows. See docs/live.md.
"""

import contextlib
import pathlib
import sys

from absl import flags

from . import cli, final_flags, video_flags

_WORKDIR = flags.DEFINE_string('workdir', '', 'Folder of a trained run.')
_INPUT = flags.DEFINE_string(
  'input', '',
  "'camera', 'camera:/dev/video2', an address such as rtsp://..., a file, or "
  "'stdin': rows of features as lines of text.",
)  # fmt: skip
_OUTPUT = flags.DEFINE_string(
  'output', '', 'File (.jsonl) that the lines are added to.'
)
_NAME = flags.DEFINE_string(
  'name', '', "Of the recording, as 'video' of each line; '': of the input."
)
_LATENCY = flags.DEFINE_float(
  'latency', 0.0,
  'Seconds after its end at which a proposal is printed at the latest; 0: the '
  'median duration of the training instances (of the chain template).',
)  # fmt: skip
_FEATURE_FPS = flags.DEFINE_float(
  'feature_fps', 0.0, 'Rows a second of stdin; 0: as the run was trained on.'
)
_AS_LIVE = flags.DEFINE_bool(
  'as_live', False, 'Play a file at its own speed, as a camera would.'
)
_CAPTURE = flags.DEFINE_multi_string(
  'capture', [],
  "Options of ffmpeg for a camera or an address, e.g. 'framerate=30', "
  "'rtsp_transport=tcp'.",
)  # fmt: skip


def main(argv):
  """Watches."""
  del argv
  cli.require(workdir=_WORKDIR.value, input=_INPUT.value)
  cli.check_outputs(files={'output': _OUTPUT.value})
  if _OUTPUT.value and not _OUTPUT.value.endswith('.jsonl'):
    raise ValueError(
      f'--output={_OUTPUT.value} holds lines of JSON: give a name that ends in '
      '.jsonl'
    )
  from cmsn_jax.files import video_ids

  name = _NAME.value or _name()
  wrong = video_ids.problem(name)
  if wrong:
    raise ValueError(f'--name={name} {wrong}: give a plain name')
  cli.use_compilation_cache()
  video_flags.apply()
  from cmsn_jax.proposing import live, streaming

  with contextlib.redirect_stdout(sys.stderr):  # standard output has the lines
    run, settings = final_flags.load(pathlib.Path(_WORKDIR.value), None)
  rate = _FEATURE_FPS.value or None
  stream = streaming.Stream(run, rate, _LATENCY.value or None)
  with contextlib.ExitStack() as stack:
    rows, losses = _rows(run, stream, stack)
    output = None
    if _OUTPUT.value:
      path = pathlib.Path(_OUTPUT.value)
      path.parent.mkdir(parents=True, exist_ok=True)
      output = stack.enter_context(open(path, 'a', encoding='utf-8'))
    if not cli.quiet():
      print(
        f'proposals at most {stream.latency_sec:.3g} s after their end, looked '
        f'for every {stream.step_sec:.3g} s',
        file=sys.stderr,
        flush=True,
      )
    printer = live.Printer(name, output)
    try:
      with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C
        spent = live.run(stream, rows, printer, settings)
        if not cli.quiet():
          print(_summary(spent), file=sys.stderr)
    finally:
      for text in losses():
        print(text, file=sys.stderr)
  return 0


def _rows(run, stream, stack):
  """What is pushed, and a function that says what was lost of it."""
  from cmsn_jax.proposing import live

  if _INPUT.value == 'stdin':
    lines = live.Lines(sys.stdin, stream.feature_fps)
    return lines, lambda: _losses(
      stream.feature_fps,
      (lines.held, 'rows were missing, the row before each stands for it'),
      (lines.late, 'rows came too late and were left out'),
    )
  from cmsn_jax.features import live_rows, video_features
  from cmsn_jax.video import capture

  record = run.data['sidecar']
  if not record:
    raise ValueError(
      f'{_WORKDIR.value} was trained on features of an unknown extractor, which '
      'cannot be made of video; push rows of features (--input=stdin), or train '
      'on features from launch.extract_features'
    )
  if (
    not capture.is_live(_INPUT.value)
    and not pathlib.Path(_INPUT.value).is_file()
  ):
    raise FileNotFoundError(f'--input={_INPUT.value}: no such file')
  made = video_features.from_record(record, _WORKDIR.value)
  frames = stack.enter_context(
    capture.Capture(
      _INPUT.value,
      fps=made.extractor.fps,
      size=made.extractor.resize,
      as_live=_AS_LIVE.value,
      options=dict(_option(text) for text in _CAPTURE.value),
    )
  )
  rows = live_rows.LiveRows(made, frames)
  return rows, lambda: [
    *_losses(
      made.extractor.fps,
      (frames.dropped, 'frames were dropped: they came faster than they could '
      'be worked on'),
    ),
    *_losses(
      made.extractor.feature_fps,
      (rows.held, 'rows were missing, the row before each stands for it'),
    ),
  ]  # fmt: skip


def _losses(fps, *counted):
  return [f'{n} {what} ({n / fps:.1f} s)' for n, what in counted if n]


def _option(text):
  name, equals, value = text.partition('=')
  if not equals:
    raise ValueError(f'--capture={text}: expected name=value')
  return name, value


def _name():
  if _INPUT.value == 'stdin' or '://' in _INPUT.value:
    return 'stream'
  return pathlib.Path(_INPUT.value).stem.replace(':', '_')


def _summary(spent):
  text = f'{spent.told} proposals of {spent.video_sec:.1f} s, {spent.rows} rows'
  if spent.video_sec <= 0:
    return text
  each = spent.cpu_sec / spent.video_sec
  return f'{text}; {each:.3g} CPU s a second of recording in this process'


if __name__ == '__main__':
  cli.run(main)
