"""What the page asks for: assets, recordings, videos by ranges, actions."""

import asyncio
import contextlib
import json
import mimetypes
import os
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import starlette.applications
import starlette.exceptions
import starlette.requests
import starlette.responses
import starlette.routing

from cmsn_jax.report import palette
from cmsn_jax.review import curves, edits, guard, inputs, output
from cmsn_jax.review import session as session_lib

_HERE = pathlib.Path(__file__).resolve().parent / 'assets'
_REPORT = pathlib.Path(palette.__file__).resolve().parent / 'assets'
_ASSETS = {
  **{file.name: file for file in _HERE.iterdir() if file.is_file()},
  # Elements, clocks, colours: as the report has them.
  'core.js': _REPORT / 'core.js',
}
_TYPES = {
  '.js': 'text/javascript', '.css': 'text/css', '.html': 'text/html',
  '.svg': 'image/svg+xml',
}  # fmt: skip
_NOT_KEPT = {'cache-control': 'no-store'}
_WRITE_EVERY_SEC = 1.0
_MOST_RANKED = 300

Request = starlette.requests.Request
Response = starlette.responses.Response


def application(
  session: session_lib.Session, token: str, port: int, name: str = ''
) -> guard.Guard:
  """The server as an ASGI application.

  Args:
    session: the review.
    token: first part of every address.
    port: of the Host headers that are ours.
    name: of the annotator, until the page says another.
  """
  handlers = _Handlers(session, name)
  route = starlette.routing.Route
  app = starlette.applications.Starlette(
    routes=[
      route('/', handlers.page),
      route('/assets/palette.css', handlers.palette),
      route('/assets/{name}', handlers.asset),
      route('/video/{recording}', handlers.video),
      route('/api/overview', handlers.overview),
      route('/api/recording/{recording}', handlers.recording),
      route('/api/ranking/{recording}', handlers.ranking),
      route('/api/stages/{recording}', handlers.stages),
      route('/api/curves/{recording}', handlers.curves),
      route('/api/beat', handlers.beat, methods=['POST']),
      route('/api/leave', handlers.leave, methods=['POST']),
      route('/api/act', handlers.act, methods=['POST']),
      route('/api/export', handlers.export, methods=['POST']),
    ],
    exception_handlers={
      edits.ActionError: _problem(400),
      session_lib.ReadOnlyError: _problem(409),
      OSError: _problem(507),
      starlette.exceptions.HTTPException: _http_problem,
    },
    lifespan=handlers.lifespan,
  )
  return guard.Guard(app, token, (f'127.0.0.1:{port}', f'localhost:{port}'))


def _problem(status: int):
  async def answer(request, error):
    del request
    return _json({'error': str(error)}, status)

  return answer


async def _http_problem(request, error):
  del request
  return _json({'error': error.detail}, error.status_code)


def _json(value: Any, status: int = 200) -> Response:
  text = json.dumps(value, ensure_ascii=False, separators=(',', ':'))
  return Response(
    text.encode('utf-8', 'replace'), status, _NOT_KEPT, 'application/json'
  )


def _missing(what: str) -> starlette.exceptions.HTTPException:
  return starlette.exceptions.HTTPException(404, what)


class _Handlers:
  """What is answered; one thread, so that actions never meet."""

  def __init__(self, session: session_lib.Session, name: str):
    self._session, self._name = session, name
    store = session.given.features
    self._curves = curves.Curves(store) if store else None

  @contextlib.asynccontextmanager
  async def lifespan(self, app: object) -> AsyncIterator[None]:
    """Keeps the output file up to date while the server runs."""
    del app
    self._session.write()
    task = asyncio.create_task(self._keep_writing())
    yield
    task.cancel()
    self._session.close()

  async def _keep_writing(self):
    while True:
      await asyncio.sleep(_WRITE_EVERY_SEC)
      # A full disk is no end: the journal said so to whoever acted, and the
      # next second tries again.
      with contextlib.suppress(OSError):
        self._session.write()

  def _source(self, request: Request) -> inputs.Source:
    recording_id = request.path_params['recording']
    found = self._session.given.sources.get(recording_id)
    if found is None:
      raise _missing(f'no recording {recording_id!r}')
    return found

  async def page(self, request: Request) -> Response:
    del request
    return Response(
      (_HERE / 'page.html').read_bytes(), 200, _NOT_KEPT, 'text/html'
    )

  async def palette(self, request: Request) -> Response:
    """The stages' colours, which pictures and pages share."""
    del request
    rows = ''.join(
      f'--stage-{k}: {colour};' for k, colour in enumerate(palette.STAGES)
    )
    return Response(f':root {{ {rows} }}\n', 200, _NOT_KEPT, 'text/css')

  async def asset(self, request: Request) -> Response:
    file = _ASSETS.get(request.path_params['name'])
    if file is None:
      raise _missing('no such file')
    return Response(file.read_bytes(), 200, _NOT_KEPT, _TYPES[file.suffix])

  async def video(self, request: Request) -> Response:
    source = self._source(request)
    root = self._session.given.videos
    if source.video is None or root is None:
      raise _missing(f'{source.recording_id} has no video')
    # Again, since a file may have become a link meanwhile.
    if not inputs.inside(os.fspath(root), source.video):
      raise starlette.exceptions.HTTPException(
        403, 'the video is a link that leads out of its folder'
      )
    kind = mimetypes.guess_type(source.video.name)[0] or 'video/mp4'
    return starlette.responses.FileResponse(
      source.video, media_type=kind, headers={'cache-control': 'no-cache'}
    )

  async def overview(self, request: Request) -> Response:
    del request
    session = self._session
    session.refresh()
    return _json(
      {
        'output': os.path.basename(os.fspath(session.path)),
        'journal': os.path.basename(session.journal.path),
        'name': self._name,
        'labels': session.given.labels,
        'formats': output.FORMATS,
        'threshold': session.threshold,
        'read_only': session.read_only,
        'number': session.number,
        'recordings': [self._summary(r) for r in session.recordings],
      }
    )

  def _summary(self, recording_id: str) -> dict[str, Any]:
    recording = self._session.recordings[recording_id]
    source = self._session.given.sources[recording_id]
    counts = dict.fromkeys(edits.STATUSES, 0)
    for item in recording.items.values():
      counts[item.status] += 1
    return {
      'id': recording_id,
      'duration': source.duration_sec,
      'done': recording.done,
      'video': source.video is not None,
      'gain': round(self._session.gain(recording_id), 4),
      'todo': self._session.worth_a_look(recording_id),
      **counts,
    }

  async def recording(self, request: Request) -> Response:
    """One recording, its items in columns."""
    source = self._source(request)
    self._session.refresh()
    recording = self._session.recordings[source.recording_id]
    stages = inputs.stages_of(self._session.given, source.recording_id)
    has_curves = (
      self._curves is not None
      and source.recording_id in self._session.given.features
    )
    return _json(
      {
        'id': source.recording_id,
        'duration': source.duration_sec,
        'fps': source.fps,
        'video': source.video.name if source.video else None,
        'stages': None if stages is None else stages[1],
        'curves': has_curves,
        'columns': ['key', *edits.Item._fields],
        'items': [[key, *item] for key, item in recording.items.items()],
        **self._state(source),
      }
    )

  def _state(self, source: inputs.Source) -> dict[str, Any]:
    """What every answer about a recording says."""
    recording = self._session.recordings[source.recording_id]
    ranked = self._session.ranked(source.recording_id)
    return {
      'number': self._session.number,
      'done': recording.done,
      'seen': output.looked_at(recording, source),
      'can_undo': recording.can_undo,
      'can_redo': recording.can_redo,
      'ranking': [
        [r.key, round(r.gain, 4), r.reason] for r in ranked[:_MOST_RANKED]
      ],
      'summary': self._summary(source.recording_id),
    }

  async def ranking(self, request: Request) -> Response:
    self._session.refresh()
    return _json(self._state(self._source(request)))

  async def stages(self, request: Request) -> Response:
    """Stage probabilities, snippet after snippet, bytes of 1/255."""
    source = self._source(request)
    found = inputs.stages_of(self._session.given, source.recording_id)
    if found is None:
      raise _missing(f'{source.recording_id} has no stages')
    levels = np.rint(np.clip(found[0], 0, 1) * 255).astype(np.uint8)
    return Response(
      levels.tobytes(), 200, _NOT_KEPT, 'application/octet-stream'
    )

  async def curves(self, request: Request) -> Response:
    source = self._source(request)
    if (
      self._curves is None
      or source.recording_id not in self._session.given.features
    ):
      raise _missing(f'{source.recording_id} has no features')
    start = _number(request, 'from', 0.0)
    end = _number(request, 'to', source.duration_sec)
    buckets = int(min(4000, max(10, _number(request, 'points', 1500.0))))
    return _json(
      self._curves.view(
        source.recording_id, start, end, source.duration_sec, buckets
      )
    )

  async def beat(self, request: Request) -> Response:
    body = await _body(request)
    self._session.refresh()
    holds = self._session.beat(
      str(body.get('window', '')), body.get('take') is True
    )
    return _json(
      {
        'holds': holds,
        'read_only': self._session.read_only,
        'number': self._session.number,
      }
    )

  async def leave(self, request: Request) -> Response:
    body = await _body(request)
    self._session.leave(str(body.get('window', '')))
    return _json({})

  async def act(self, request: Request) -> Response:
    body = await _body(request)
    patch = self._session.act(str(body.get('window', '')), body)
    source = self._session.given.sources[body['recording']]
    return _json(
      {
        'changed': {
          key: after
          for key, (_, after) in patch.items()
          if not key.startswith('#')
        },
        **self._state(source),
      }
    )

  async def export(self, request: Request) -> Response:
    body = await _body(request)
    try:
      path = self._session.export(str(body.get('format', '')))
    except ValueError as error:
      raise edits.ActionError(str(error)) from None
    return _json({'path': path})


def _number(request: Request, name: str, default: float) -> float:
  text = request.query_params.get(name)
  try:
    value = default if text is None else float(text)
  except ValueError:
    value = np.nan
  if not np.isfinite(value):
    raise edits.ActionError(f'{name} must be a number, got {text!r}')
  return value


async def _body(request: Request) -> dict[str, Any]:
  chunks, size = [], 0
  async for chunk in request.stream():
    size += len(chunk)
    if size > guard.MAX_BODY:
      raise starlette.exceptions.HTTPException(413, 'too much at once')
    chunks.append(chunk)
  try:
    found = json.loads(b''.join(chunks))
    # NaN and half of a surrogate pair are in no file.
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
  except (ValueError, RecursionError):
    found = None
  if not isinstance(found, dict):
    raise edits.ActionError('expected a JSON object')
  return found
