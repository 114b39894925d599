"""The service's addresses: features or a video in, proposals out.

    POST /v1/proposals   application/x-npy, application/json, video/*
    GET  /v1/model       what it takes
    GET  /health         200 while it takes requests, 503 when it does not
    GET  /metrics        for Prometheus

A request has a place before its body is read, so that memory is bounded by the
number of places times the largest body; without a place it is answered 429 at
once. What has a place is answered, also while the service stops.
"""

import asyncio
import contextlib
import hmac
import json
import math
import pathlib
import tempfile
import time
from typing import Any, NamedTuple

import numpy as np
import starlette.applications
import starlette.exceptions
import starlette.requests
import starlette.responses
import starlette.routing

from cmsn_jax import process_memory
from cmsn_jax.annotations import activitynet
from cmsn_jax.chains import prediction
from cmsn_jax.files import feature_memory, proposal_files
from cmsn_jax.proposing import inputs
from cmsn_jax.runs import trained as trained_lib
from cmsn_jax.serving import bodies, worker
from cmsn_jax.serving import counts as counts_lib
from cmsn_jax.suppression import final_list
from cmsn_jax.video import video_files

Request = starlette.requests.Request
Response = starlette.responses.Response

_NPY = ('application/x-npy', 'application/octet-stream')
_JSON = 'application/json'
# What a body's type is called as a file; readers look at the contents.
_VIDEOS = {
  'video/mp4': '.mp4', 'video/webm': '.webm', 'video/x-matroska': '.mkv',
  'video/quicktime': '.mov', 'video/x-msvideo': '.avi', 'video/mpeg': '.mpg',
  'video/mp2t': '.ts', 'video/ogg': '.ogv', 'video/x-flv': '.flv',
  'video/x-ms-wmv': '.wmv',
}  # fmt: skip
# Parameters that a request with features may have.
_OF_FEATURES = ('feature_fps', 'duration_sec')
_PATHS = ('/v1/proposals', '/v1/model', '/health', '/metrics')
_MEGABYTE = 1_000_000
_ALLOW = 'start launch.serve with --allow_damage'


class Limits(NamedTuple):
  """What a request may take.

  Attributes:
    places: requests at once, the one that is computed included.
    features_bytes: of a body of features.
    video_bytes: of a video.
    body_sec: for a body to come in.
    answer_sec: from a body that is there to its proposals.
    send_sec: for each piece of an answer to be taken.
  """

  places: int = 32
  features_bytes: int = 64 * _MEGABYTE
  video_bytes: int = 2_000 * _MEGABYTE
  body_sec: float = 60.0
  answer_sec: float = 300.0
  send_sec: float = 30.0


class _Error(Exception):
  """An answer that is no proposals."""

  def __init__(self, status: int, message: str, headers: dict | None = None):
    super().__init__(message)
    self.status, self.message, self.headers = status, message, headers


class Service:
  """An ASGI application around one model.

  Args:
    trained: the model.
    settings: what each list is limited to.
    limits: see `Limits`.
    token: that requests must carry (Authorization: Bearer); '': none.

  Attributes:
    counts: what it has done.
  """

  def __init__(
    self,
    trained: trained_lib.Trained,
    settings: final_list.Settings = final_list.NO_LIMITS,
    limits: Limits = Limits(),  # noqa: B008
    token: str = '',
  ):
    self._trained, self._settings, self._limits = trained, settings, limits
    self._token = token.encode()
    self.counts = counts_lib.Counts()
    self._worker = worker.Worker(trained, settings, self.counts)
    self._taken = 0
    # Of one request, as it has been of late.
    self._usual_sec = 1.0
    route = starlette.routing.Route
    self._app = starlette.applications.Starlette(
      routes=[
        route('/v1/proposals', self._proposals, methods=['POST']),
        route('/v1/model', self._model),
        route('/health', self._health),
        route('/metrics', self._metrics),
      ],
      exception_handlers={
        _Error: _error,
        starlette.exceptions.HTTPException: _http_error,
        Exception: _internal_error,
      },
    )

  async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
    """One request; see the ASGI specification."""
    if scope['type'] != 'http':
      await self._app(scope, receive, send)
      return

    async def sent(message):
      if message['type'] == 'http.response.start':
        path = scope['path'] if scope['path'] in _PATHS else 'other'
        self.counts.request(path, message['status'])
      # Who does not take an answer does not keep it here.
      await asyncio.wait_for(send(message), self._limits.send_sec)

    try:
      await self._app(scope, receive, sent)
    except TimeoutError:
      # The connection ends without a whole answer, which its client sees.
      return

  def close(self) -> None:
    """Finishes what has a place, then ends."""
    self._worker.close()

  def warm(self, rows: int = 64) -> None:
    """Compiles what a request will need, on features of zeros."""
    width = self._trained.data['file_dim']
    if self._trained.config.data.input == 'video' or not width:
      return
    zeros = bodies.Features([[0.0] * width] * rows, duration_sec=60.0)
    job = worker.Job(self._source(zeros), '', math.inf)
    self._worker.submit(job)
    job.answer.result()

  async def _proposals(self, request: Request) -> Response:
    try:
      return await self._placed(request)
    except _Error:
      # What is closed while its client still sends loses the answer too.
      await _rest(request)
      raise

  async def _placed(self, request):
    self._check_token(request)
    kind = request.headers.get('content-type', '').partition(';')[0].strip()
    if kind not in (*_NPY, _JSON, *_VIDEOS):
      raise _Error(
        415,
        f'content-type {kind!r}: give {", ".join((*_NPY, _JSON))} for features, '
        f'or a video as {", ".join(_VIDEOS)}',
      )
    limits = self._limits
    most = limits.video_bytes if kind in _VIDEOS else limits.features_bytes
    _check_length(request, most)
    if self._taken >= limits.places:
      wait = math.ceil(min(60, max(1, self._usual_sec * limits.places)))
      raise _Error(
        429,
        f'{limits.places} requests are being worked on; come again',
        {'retry-after': str(wait)},
      )
    self._taken += 1
    try:
      return await self._answer(request, kind, most)
    finally:
      self._taken -= 1

  async def _answer(self, request, kind, most):
    query = dict(request.query_params)
    labels = self._labels(query.pop('labels', 'best'))
    unknown = set(query).difference(() if kind in _VIDEOS else _OF_FEATURES)
    if unknown:
      raise _Error(400, f'unknown parameters: {", ".join(sorted(unknown))}')
    with contextlib.ExitStack() as stack:
      if kind in _VIDEOS:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        path = pathlib.Path(folder) / f'video{_VIDEOS[kind]}'
        with open(path, 'wb') as file:
          await _received(request, file.write, most, self._limits.body_sec)
        source = None
      else:
        path, parts = '', []
        await _received(request, parts.append, most, self._limits.body_sec)
        source = await asyncio.to_thread(
          self._read, b''.join(parts), kind, query
        )
      began = time.monotonic()
      found = await self._computed(source, str(path), labels)
      self._usual_sec += 0.1 * (time.monotonic() - began - self._usual_sec)
      return await asyncio.to_thread(_response, self._trained.identity, found)

  async def _computed(self, source, path, labels):
    deadline = time.monotonic() + self._limits.answer_sec
    job = worker.Job(source, path, deadline, labels)
    self._worker.submit(job)
    try:
      return await asyncio.wait_for(
        asyncio.wrap_future(job.answer), self._limits.answer_sec
      )
    except TimeoutError:
      raise _Error(
        504,
        f'not done within {self._limits.answer_sec:g} s; a shorter input, or '
        'launch.propose, which has no limit',
      ) from None
    except worker.RefusedError as error:
      # Not where it lay here.
      message = str(error).replace(path, 'the video') if path else str(error)
      # What a client cannot pass.
      message = message.replace(f'pass {video_files.ALLOW}', _ALLOW)
      raise _Error(400, message) from None

  def _read(self, body, kind, query):
    """The source of a body of features."""
    try:
      found = bodies.of_json(body) if kind == _JSON else bodies.npy(body)
      for name in _OF_FEATURES:
        value = bodies.positive(name, query.get(name))
        if value is not None:
          found = found._replace(**{name: value})
      return self._source(found)
    except (ValueError, TypeError) as error:
      raise _Error(400, str(error)) from None

  def _labels(self, wanted):
    """What a client wants to know of labels, if the model can say it."""
    if wanted not in prediction.LABELS:
      known = ', '.join(prediction.LABELS)
      raise _Error(400, f'labels={wanted!r}, expected one of {known}')
    if wanted == 'all' and not self._trained.predictor.label_names:
      raise _Error(400, 'labels=all: this model gives no labels')
    return wanted

  def _source(self, found):
    if self._trained.config.data.input == 'video':
      raise ValueError('this model was trained on video; give a video')
    if self._trained.data.get('rescaled') and not found.duration_sec:
      raise ValueError(
        'this model was trained on features stretched to one length: give '
        'duration_sec, the seconds of the video'
      )
    store = feature_memory.ArrayStore(found.rows, 'the body')
    known = None
    if found.duration_sec:
      (video_id,) = store.ids
      known = {
        video_id: activitynet.Video(
          video_id, 'testing', found.duration_sec, _NO_SEGMENTS, ()
        )
      }
    return inputs.feature_source(self._trained, store, found.feature_fps, known)

  async def _model(self, request: Request) -> Response:
    self._check_token(request)
    about = self._trained.data
    return starlette.responses.JSONResponse(
      {
        'model': self._trained.identity,
        'chain': self._trained.config.chain,
        'input': self._trained.config.data.input,
        'feature_fps': about['file_fps'] or about['feature_fps'],
        'feature_dim': about['file_dim'],
        'labels': list(self._trained.predictor.label_names),
        'videos': bool(
          about['sidecar'] or self._trained.config.data.input == 'video'
        ),
      }
    )

  async def _health(self, request: Request) -> Response:
    del request
    ok = self._worker.alive()
    return starlette.responses.JSONResponse(
      {'status': 'ok' if ok else 'the model has stopped'}, 200 if ok else 503
    )

  async def _metrics(self, request: Request) -> Response:
    self._check_token(request)
    text = self.counts.text(
      {
        'requests_waiting': ('Requests that have a place.', self._taken),
        'places': ('Requests that may have a place.', self._limits.places),
        'peak_memory_bytes': (
          'Largest resident memory so far.',
          process_memory.peak_bytes(),
        ),
      }
    )
    return starlette.responses.PlainTextResponse(
      text, media_type='text/plain; version=0.0.4'
    )

  def _check_token(self, request):
    given = request.headers.get('authorization', '').encode()
    if self._token and not hmac.compare_digest(given, b'Bearer ' + self._token):
      raise _Error(
        401, 'Authorization: Bearer <token> is needed',
        {'www-authenticate': 'Bearer'},
      )  # fmt: skip


_NO_SEGMENTS = np.zeros((0, 2))


async def _received(request, take, most, seconds):
  """Hands a body on, piece by piece."""
  total = 0
  try:
    async with asyncio.timeout(seconds):
      async for part in request.stream():
        total += len(part)
        if total > most:
          raise _too_large(most)
        await asyncio.to_thread(take, part) if len(part) > 2**20 else take(part)
  except TimeoutError:
    raise _Error(
      408, f'the body was not there within {seconds:g} s', _CLOSE
    ) from None
  except starlette.requests.ClientDisconnect:
    raise _Error(400, 'the body ended before its length') from None


async def _rest(request):
  """Lets the rest of a refused body come in, for a moment, unkept."""
  # Who asks first whether to send has not sent anything.
  if 'expect' in request.headers:
    return
  with contextlib.suppress(
    TimeoutError, RuntimeError, starlette.requests.ClientDisconnect
  ):
    async with asyncio.timeout(_LINGER_SEC):
      async for _ in request.stream():
        pass


_LINGER_SEC = 2.0
_CLOSE = {'connection': 'close'}


def _check_length(request, most):
  length = request.headers.get('content-length')
  if length is not None and length.isdecimal() and int(length) > most:
    raise _too_large(most)


def _too_large(most):
  return _Error(413, f'the body is larger than {most / _MEGABYTE:g} MB', _CLOSE)


def _response(identity: str, found: proposal_files.Proposals) -> Response:
  """Rows as `proposal_files.write` has them."""
  document = {'model': identity, 'proposals': list(found.best_first().rows())}
  return Response(json.dumps(document), media_type=_JSON)


async def _error(request, error):
  del request
  return starlette.responses.JSONResponse(
    {'error': error.message}, error.status, error.headers
  )


async def _http_error(request, error):
  del request
  return starlette.responses.JSONResponse(
    {'error': error.detail}, error.status_code, error.headers
  )


async def _internal_error(request, error):
  del request, error
  return starlette.responses.JSONResponse(
    {'error': 'the service failed; its log says why'}, 500
  )
