r"""Serves proposals over HTTP: features or a video in, proposals out.

    python -m launch.serve --workdir=runs/mine
    curl --data-binary @new.npy -H 'content-type: application/x-npy' \
      http://127.0.0.1:8300/v1/proposals
    curl --data-binary @new.mp4 -H 'content-type: video/mp4' \
      http://127.0.0.1:8300/v1/proposals

The model is read once; answers are launch.propose's. On this machine only,
unless --host says otherwise, for which a token is needed. SIGTERM: what was
begun is answered, then it ends. docs/deploy.md says more.
"""

import os
import pathlib

from absl import flags

from . import cli, distributed, final_flags, video_flags

_WORKDIR = flags.DEFINE_string(
  'workdir', '', 'Folder of a trained run, or one that launch.export wrote.'
)
_HOST = flags.DEFINE_string(
  'host', '127.0.0.1', 'Address to listen on; 0.0.0.0: all, with a token.'
)
_PORT = flags.DEFINE_integer('port', 8300, 'Port to listen on; 0: a free one.')
_TOKEN_FILE = flags.DEFINE_string(
  'token_file',
  '',
  'File whose first line requests must carry: Authorization: Bearer ...; else '
  'the environment variable CMSN_TOKEN.',
)
_PHASE = flags.DEFINE_string(
  'phase', 'all', 'The last phase whose parameters are used.'
)
_PLACES = flags.DEFINE_integer(
  'places', 32, 'Requests at once; the next one is told to come again (429).',
  lower_bound=1,
)  # fmt: skip
_FEATURES_MB = flags.DEFINE_float(
  'max_features_mb', 64.0, 'Largest body of features.', lower_bound=0.001
)
_VIDEO_MB = flags.DEFINE_float(
  'max_video_mb', 2000.0, 'Largest video.', lower_bound=0.001
)
_BODY_SEC = flags.DEFINE_float(
  'body_sec', 60.0, 'Seconds for a body to come in (408).', lower_bound=0.1
)
_ANSWER_SEC = flags.DEFINE_float(
  'answer_sec', 300.0, 'Seconds until proposals are made (504).',
  lower_bound=0.1,
)  # fmt: skip
_SHORT_TOKEN = 16


def main(argv):
  """Serves."""
  del argv
  cli.require(workdir=_WORKDIR.value)
  try:
    from cmsn_jax.serving import server
    from cmsn_jax.serving import service as service_lib
  except ModuleNotFoundError as error:
    if error.name not in ('starlette', 'uvicorn'):
      raise
    raise ValueError(
      f'launch.serve needs {error.name}: pip install "cmsn_jax[serve]" (or '
      'pip install -r requirements-serve.txt)'
    ) from error
  token = _token()
  video_flags.apply()
  if not token and not server.is_loopback(_HOST.value):
    raise ValueError(
      f'--host={_HOST.value} is reached from other machines: give --token_file, '
      'a secret of your own; without one, 127.0.0.1 only'
    )
  cli.use_compilation_cache()
  distributed.announce_devices(cli.quiet())
  trained, settings = _trained()
  limits = service_lib.Limits(
    _PLACES.value,
    round(_FEATURES_MB.value * 1e6),
    round(_VIDEO_MB.value * 1e6),
    _BODY_SEC.value,
    _ANSWER_SEC.value,
  )
  # Before the model is warm: a port that is taken is known at once.
  listening = server.bound(_HOST.value, _PORT.value)
  app = service_lib.Service(trained, settings, limits, token)
  app.warm()
  stop_sec = limits.body_sec + limits.answer_sec + limits.send_sec
  made = server.make(app, limits.places, stop_sec)
  host, port = listening.getsockname()[:2]
  host = f'[{host}]' if ':' in host else host
  print(f'serving {_WORKDIR.value} at http://{host}:{port}', flush=True)
  server.run(made, listening)
  app.close()
  answers = app.counts.answered('/v1/proposals')
  print(f'stopped after {answers} answers: all that was begun is done')
  return 0


def _token():
  if not _TOKEN_FILE.value:
    text = os.environ.get('CMSN_TOKEN', '')
  else:
    lines = pathlib.Path(_TOKEN_FILE.value).read_text('utf-8').splitlines()
    text = lines[0].strip() if lines else ''
  if (text or _TOKEN_FILE.value) and len(text) < _SHORT_TOKEN:
    raise ValueError(
      f'the token has {len(text)} characters, give at least {_SHORT_TOKEN}: '
      'python -c "import secrets; print(secrets.token_urlsafe())"'
    )
  return text


def _trained():
  folder = pathlib.Path(_WORKDIR.value)
  if not (folder / 'model.json').is_file():
    phase = None if _PHASE.value == 'all' else _PHASE.value
    return final_flags.load(folder, phase)
  from cmsn_jax.proposing import exported_run
  from cmsn_jax.suppression import final_list

  if _PHASE.value != 'all' or final_flags.NMS.value or final_flags.BEST.value:
    raise ValueError(
      f'{folder} is an export: --phase, --nms, --best need a run'
    )
  settings = final_list.Settings(
    final_flags.MIN_SCORE.value,
    final_flags.NON_OVERLAPPING.value,
    final_flags.MAX_PER_MINUTE.value,
  )
  settings.check()
  return exported_run.load(folder), settings


if __name__ == '__main__':
  cli.run(main)
