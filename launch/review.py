r"""A page in the browser to correct proposals: accept, move, name, reject.

    python -m launch.review --proposals=proposals.json --videos=videos/ \
      --annotations=annotations.json --output=corrected.json

Everything but --proposals and --output may be left out; without videos,
--features shows curves. Every action is on disk at once in
<output>.journal; the same command goes on where it was left. Train on
the result with launch.train --init_from.
"""

import getpass
import os
import sys
import webbrowser

from absl import flags

from . import cli, feature_flags, proposal_flags, video_flags

_PROPOSALS = flags.DEFINE_string(
  'proposals', '', 'Proposals: JSON, or what launch.evaluate reads.'
)
_OUTPUT = flags.DEFINE_string(
  'output', '', 'Corrected annotations, JSON; <output>.journal lies beside it.'
)
_ANNOTATIONS = flags.DEFINE_string(
  'annotations', '', 'What is annotated already, JSON; never changed.'
)
_VIDEOS = flags.DEFINE_string('videos', '', 'Folder of <id>.mp4 (.webm, ...).')
_FEATURES = flags.DEFINE_string(
  'features', '', 'Folder of <id>.npy (or others), shown as curves.'
)
_STAGES = flags.DEFINE_string(
  'stages', '', 'Folder of <id>.npz that propose --save_stages wrote.'
)
_MEMBERS = flags.DEFINE_list(
  'members', [], 'Proposals of other runs: where they disagree comes first.'
)
_LABELS = flags.DEFINE_list(
  'labels', [], 'Names to choose from by key, beside those that occur.'
)
_NAME = flags.DEFINE_string(
  'name', '', 'Who annotates; by default who is logged in.'
)
_SUBSET = flags.DEFINE_enum(
  'subset', 'training', ['training', 'validation', 'testing'],
  'Subset, in the output, of recordings without annotations.',
)  # fmt: skip
_THRESHOLD = flags.DEFINE_float(
  'threshold', 0.5, 'Score at which a proposal would be taken, for the ranking.'
)
_FORMAT = flags.DEFINE_string(
  'format', '', 'Also written at the end, as launch.convert_proposals does.'
)
_PORT = flags.DEFINE_integer('port', 0, 'Of the page; 0: any that is free.')
_BROWSER = flags.DEFINE_bool('browser', True, 'Open the page.')


def main(argv):
  """Serves the page until Ctrl-C."""
  del argv
  cli.require(proposals=_PROPOSALS.value, output=_OUTPUT.value)
  cli.check_outputs(files={'output': _OUTPUT.value})
  _keep_inputs_apart()
  try:
    from cmsn_jax.review import serving
  except ModuleNotFoundError as error:
    raise cli.Failed(
      f'launch.review needs {error.name}: pip install "cmsn_jax[review]" (or '
      'pip install -r requirements-review.txt)'
    ) from None
  from cmsn_jax.review import output
  from cmsn_jax.review import session as session_lib

  if _FORMAT.value and _FORMAT.value not in output.FORMATS:
    raise ValueError(
      f'--format must be one of {", ".join(output.FORMATS)}, got '
      f'{_FORMAT.value!r}'
    )
  video_flags.apply()
  session = session_lib.Session(
    _gather(),
    _OUTPUT.value,
    threshold=_THRESHOLD.value,
    unchanged=_read_files(),
  )
  if _FORMAT.value:
    session.check_export(_FORMAT.value)
  _say(session)
  serving.serve(
    session,
    port=_PORT.value,
    name=_NAME.value or _login(),
    ready=_ready,
  )
  if _FORMAT.value and not session.read_only:
    print(f'wrote {session.export(_FORMAT.value)}')
  print(f'{session.number} actions in {session.journal.path}')
  return 0


def _read_files():
  given = [
    _PROPOSALS.value, _ANNOTATIONS.value, _VIDEOS.value, _FEATURES.value,
    _STAGES.value, *_MEMBERS.value,
  ]  # fmt: skip
  return [path for path in given if path]


def _keep_inputs_apart():
  target = os.path.realpath(_OUTPUT.value)
  for path in _read_files():
    if os.path.realpath(path) == target:
      raise ValueError(
        f'--output={_OUTPUT.value} is one of the files that are read, which '
        'are never changed; name another file'
      )


def _gather():
  from cmsn_jax.annotations import activitynet
  from cmsn_jax.files import proposal_sources
  from cmsn_jax.review import inputs

  known = {}
  if _ANNOTATIONS.value:
    known = activitynet.read(_ANNOTATIONS.value).videos
  clock = proposal_flags.clock(known)
  return inputs.gather(
    proposal_sources.read(_PROPOSALS.value, clock),
    annotations=_ANNOTATIONS.value or None,
    videos=_VIDEOS.value or None,
    features=_FEATURES.value or None,
    feature_fps=feature_flags.FEATURE_FPS.value,
    stages=_STAGES.value or None,
    members=tuple(proposal_sources.read(p, clock) for p in _MEMBERS.value),
    labels=tuple(_LABELS.value),
    subset=_SUBSET.value,
    quiet=cli.quiet(),
  )


def _login():
  try:
    return getpass.getuser()
  except (KeyError, OSError, ImportError):
    return ''


def _say(session):
  count = sum(len(s.items) for s in session.given.sources.values())
  print(f'{len(session.recordings)} recordings, {count} segments')
  if session.number:
    print(f'goes on after {session.number} actions of {session.journal.path}')
  if session.read_only:
    print(
      f'another program works on {_OUTPUT.value}: this window only shows it',
      file=sys.stderr,
    )


def _ready(address):
  print(f'the page: {address}  (Ctrl-C ends)', flush=True)
  if _BROWSER.value:
    webbrowser.open(address)


if __name__ == '__main__':
  cli.run(main)
