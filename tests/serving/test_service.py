"""The service answers as propose does, and outlives what is sent to it."""

import concurrent.futures
import contextlib
import json
import socket
import time

import numpy as np
import pytest

from cmsn_jax.features import video_features
from cmsn_jax.files import feature_memory, proposal_files
from cmsn_jax.proposing import inputs
from cmsn_jax.settings import features as features_settings
from cmsn_jax.suppression import final_list
from tests.proposing import index_backbone, test_exporting
from tests.serving import serving
from tests.video import made_videos

pytest.importorskip('uvicorn', reason='the extra serve is not installed')

from cmsn_jax.serving import server, service  # noqa: E402

_WIDTH = test_exporting._WIDTH
_MODELS = {
  'paper': lambda: test_exporting._paper('pool'),
  'template': test_exporting._template,
}


@pytest.fixture(scope='module', params=_MODELS)
def trained(request):
  return _MODELS[request.param]()


@pytest.fixture(scope='module')
def running(trained):
  limits = service.Limits(features_bytes=200_000, body_sec=1.5)
  with serving.served(trained, limits=limits) as (port, app):
    yield port, app


@pytest.fixture(scope='module')
def one():
  """A service of one model, where it does not matter which."""
  limits = service.Limits(features_bytes=200_000, body_sec=1.5)
  trained = test_exporting._template()
  with serving.served(trained, limits=limits) as (port, app):
    yield port, app


def _rows(length, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(0, 2, (length, _WIDTH)).astype(np.float32)


def _expected(trained, rows, fps=None):
  store = feature_memory.ArrayStore(rows)
  source = inputs.feature_source(trained, store, fps)
  ((_, found),) = trained.predictor.propose(source, source.ids)
  return found.proposals


def _as_written(trained, proposals):
  """As launch.propose writes them."""
  rows = list(proposals.best_first().rows())
  return json.loads(json.dumps({'model': trained.identity, 'proposals': rows}))


def test_concurrent_requests_get_what_propose_writes(
  running, trained, tmp_path
):
  port, _ = running
  videos = [
    _rows(n, seed) for seed, n in enumerate((1, 3, 64, 31, 200, 33) * 3)
  ]
  expected = [_expected(trained, rows) for rows in videos]
  assert sum(len(one.scores) for one in expected) > 20
  with concurrent.futures.ThreadPoolExecutor(9) as pool:
    answers = list(pool.map(lambda x: serving.propose(port, x), videos))
  for (status, found, _), proposals in zip(answers, expected):
    assert status == 200
    assert found == _as_written(trained, proposals)
  # The rows of the answer are, to the byte, those of the file.
  proposal_files.write(tmp_path / 'p.json', {'v': expected[4]})
  rows = json.dumps(answers[4][1]['proposals'])
  assert f'"v": {rows}' in (tmp_path / 'p.json').read_text()


def test_json_and_rates(running, trained):
  port, _ = running
  rows = _rows(50)
  body = json.dumps({'features': rows.tolist(), 'feature_fps': 8})
  kind = {'content-type': 'application/json; charset=utf-8'}
  status, found, _ = serving.ask(port, 'POST', '/v1/proposals', body, kind)
  assert status == 200
  assert found == _as_written(trained, _expected(trained, rows))
  status, found, _ = serving.propose(port, rows, '?feature_fps=10')
  assert status == 200
  assert found == _as_written(trained, _expected(trained, rows, 10.0))


@pytest.mark.parametrize(
  ('body', 'headers', 'status', 'message'),
  [
    (b'nonsense', serving.NPY, 400, 'no .npy'),
    (serving.npy(np.array([[{}]], object), allow_pickle=True), serving.NPY, 400,
     'not read'),
    (serving.npy(np.ones((9, 3), 'f4')), serving.NPY, 400, '3-dimensional'),
    (serving.npy(np.full((9, 5), np.nan, 'f4')), serving.NPY, 400, 'finite'),
    (serving.npy(np.ones((20_000, 5), 'f4')), serving.NPY, 413, 'larger than'),
    (b'x', {'content-type': 'text/plain'}, 415, 'content-type'),
    (b'x', {}, 415, 'content-type'),
    (b'{"features": [[1, 2]]}', {'content-type': 'application/json'}, 400,
     '2-dimensional'),
    (b'\0' * 900, {'content-type': 'video/mp4'}, 400, 'the video'),
  ],
)  # fmt: skip
def test_what_cannot_be_is_said(one, body, headers, status, message):
  found = serving.ask(one[0], 'POST', '/v1/proposals', body, headers)
  assert found[0] == status, found
  assert message in found[1]['error']
  assert '/tmp' not in found[1]['error']
  assert serving.propose(one[0], _rows(9))[0] == 200


def test_a_video_is_answered_and_a_cut_one_refused(tmp_path):
  # An extractor that costs nothing, so that this is about uploads.
  section = features_settings.get_config()
  section.features.extractor = index_backbone.__name__
  made = video_features.from_config(section.features)
  trained = test_exporting._paper(
    'pool', False, dim=10, fps=5.0, sidecar=made.record
  )
  path = tmp_path / 'v.mp4'
  made_videos.make(path, num_frames=150)
  content = path.read_bytes()
  with contextlib.ExitStack() as stack:
    source = inputs.open_source(
      trained, str(path), None, {}, stack, in_place=True
    ).source
    ((_, expected),) = trained.predictor.propose(source, source.ids)
  kind = {'content-type': 'video/mp4'}
  with serving.served(trained) as (port, _):
    # Of the cut one its index, at the end, is missing; a broken one may be
    # read, if whoever serves wants that.
    broken = bytearray(content)
    middle = content.index(b'mdat') + len(content) // 3
    broken[middle : middle + 200] = bytes(200)
    for body, expected_status, said in (
      (content[: len(content) // 2], 400, 'the video'),
      (bytes(broken), 400, 'or start launch.serve with --allow_damage to read'),
      (content, 200, ''),
    ):
      status, found, _ = serving.ask(port, 'POST', '/v1/proposals', body, kind)
      assert status == expected_status, found
      if status == 400:
        assert said in found['error'] and '/tmp' not in found['error']
    status, refused, _ = serving.ask(
      port, 'POST', '/v1/proposals?feature_fps=5', content, kind
    )
    assert status == 400 and 'unknown parameters' in refused['error']
  assert found == _as_written(trained, expected.proposals)
  assert found['proposals']


def test_a_wrong_rate_or_parameter_is_said(one):
  rows = _rows(9)
  for query, message in (
    ('?feature_fps=100', 'trained on 8'),
    ('?feature_fps=x', 'above 0'),
    ('?feature_fsp=8', 'unknown parameters: feature_fsp'),
    ('?labels=some', 'best, all, none'),
  ):
    status, found, _ = serving.propose(one[0], rows, query)
    assert status == 400 and message in found['error'], found


@pytest.mark.parametrize('labels', ['best', 'all', 'none'])
def test_labels_as_launch_propose_writes_them(running, trained, labels):
  rows = _rows(200, 4)
  source = inputs.feature_source(trained, feature_memory.ArrayStore(rows), None)
  ((_, expected),) = trained.predictor.propose(source, source.ids)
  status, found, _ = serving.propose(running[0], rows, f'?labels={labels}')
  if labels == 'all' and not trained.predictor.label_names:
    assert status == 400 and 'gives no labels' in found['error']
  else:
    assert found == _as_written(trained, expected.rows(labels))
    assert found['proposals']


def test_a_body_too_large_by_chunks_is_cut_off(one):
  def chunks():
    for _ in range(100):
      yield bytes(10_000)

  status, found, _ = serving.ask(
    one[0], 'POST', '/v1/proposals', chunks(), serving.NPY
  )
  assert status == 413, found


def test_other_addresses(one):
  port, app = one
  status, found, _ = serving.ask(port, 'GET', '/v1/model')
  assert status == 200
  assert (found['feature_dim'], found['feature_fps']) == (_WIDTH, 8.0)
  assert found['labels'] == list(app._trained.predictor.label_names)
  assert serving.ask(port, 'GET', '/health')[:2] == (200, {'status': 'ok'})
  assert serving.ask(port, 'GET', '/nothing')[0] == 404
  assert serving.ask(port, 'GET', '/v1/proposals')[0] == 405
  before = app.counts.answered('/metrics')
  status, text, _ = serving.ask(port, 'GET', '/metrics')
  assert status == 200 and b'cmsn_places 32' in text
  assert b'cmsn_requests_total{path="/v1/model",status="200"} 1' in text
  assert b'cmsn_proposal_seconds_bucket{le="+Inf"}' in text
  assert b'{path="other",status="404"} 1' in text
  assert app.counts.answered('/metrics') == before + 1


def test_the_list_is_limited_as_launch_propose_limits_it():
  trained = test_exporting._template()
  settings = final_list.Settings(None, True, 0.0)
  rows = _rows(120)
  proposals = _expected(trained, rows)
  kept = final_list.select(proposals.segments, proposals.scores, 15.0, settings)
  assert 0 < len(kept) < len(proposals.scores)
  with serving.served(trained, settings=settings) as (port, _):
    _, found, _ = serving.propose(port, rows)
  assert found == _as_written(trained, proposals.take(kept))


class _Slow:
  """A predictor that waits until it is let go."""

  def __init__(self, predictor):
    self._predictor, self.open = predictor, False
    self.reads = 0

  def __getattr__(self, name):
    return getattr(self._predictor, name)

  def propose(self, source, video_ids, on_error):
    while not self.open:
      time.sleep(0.01)
      self.reads += 1
      try:
        source.read(video_ids[0], 0, 1)
      except OSError as error:
        on_error(video_ids[0], str(error))
        return
    yield from self._predictor.propose(source, video_ids, on_error)


def _slow():
  trained = test_exporting._template()
  slow = _Slow(trained.predictor)
  return trained._replace(predictor=slow), slow


def test_the_next_request_without_a_place_is_told_to_come_again():
  trained, slow = _slow()
  limits = service.Limits(places=3)
  rows = _rows(30)
  with (
    serving.served(trained, limits=limits) as (port, _),
    concurrent.futures.ThreadPoolExecutor(3) as pool,
  ):
    waiting = [pool.submit(serving.propose, port, rows) for _ in range(3)]
    _until(lambda: b'requests_waiting 3' in _metrics(port))
    status, found, headers = serving.propose(port, rows)
    assert (status, found['error'][:10]) == (429, '3 requests')
    assert int(headers['retry-after']) >= 1
    # What says how it goes is answered all the same.
    assert serving.ask(port, 'GET', '/health')[0] == 200
    slow.open = True
    for one in waiting:
      assert one.result()[0] == 200
    assert serving.propose(port, rows)[0] == 200


def test_what_takes_too_long_is_given_up_and_frees_the_model():
  trained, slow = _slow()
  limits = service.Limits(answer_sec=3.0)
  with serving.served(trained, limits=limits) as (port, app):
    slow.open = True
    app.warm()
    slow.open = False
    status, found, _ = serving.propose(port, _rows(30))
    assert (status, 'within 3 s' in found['error']) == (504, True)
    # Nobody waits any more, so that it stopped by itself.
    reads = slow.reads
    time.sleep(0.1)
    assert slow.reads <= reads + 1
    slow.open = True
    assert serving.propose(port, _rows(3))[0] == 200


def test_stopping_finishes_what_has_a_place():
  trained, slow = _slow()
  with (
    concurrent.futures.ThreadPoolExecutor(5) as pool,
    contextlib.ExitStack() as stack,
  ):
    port, _ = stack.enter_context(serving.served(trained))
    waiting = [pool.submit(serving.propose, port, _rows(30)) for _ in range(5)]
    _until(lambda: b'requests_waiting 5' in _metrics(port))
    closing = concurrent.futures.ThreadPoolExecutor(1)
    done = closing.submit(stack.close)
    _until(lambda: not _accepts(port))
    slow.open = True
    assert [one.result()[0] for one in waiting] == [200] * 5
    done.result()


def _accepts(port):
  try:
    socket.create_connection(('127.0.0.1', port), 1).close()
  except OSError:
    return False
  return True


def test_a_token_is_needed_where_there_is_one():
  with serving.served(
    test_exporting._template(), token='secret of sixteen'
  ) as (port, _):
    assert serving.propose(port, _rows(9))[0] == 401
    for wrong in ('Bearer nothing', 'secret of sixteen', 'Bearer s\xe9'):
      headers = {'authorization': wrong}
      assert serving.propose(port, _rows(9), headers=headers)[0] == 401
    assert serving.ask(port, 'GET', '/metrics')[0] == 401
    assert serving.ask(port, 'GET', '/v1/model')[0] == 401
    assert serving.ask(port, 'GET', '/health')[0] == 200
    headers = {'authorization': 'Bearer secret of sixteen'}
    assert serving.propose(port, _rows(9), headers=headers)[0] == 200


def test_slow_clients_are_cut_off_and_others_served(one, monkeypatch):
  """Headers, then a body, that come a byte at a time; and such as say nothing."""
  monkeypatch.setattr(server, 'HEADER_SEC', 0.5)
  port, _ = one
  slow = [socket.create_connection(('127.0.0.1', port)) for _ in range(60)]
  header = b'POST /v1/proposals HTTP/1.1\r\nhost: x\r\n'
  for connection in slow[20:]:
    connection.sendall(header)
  for connection in slow[40:]:
    connection.sendall(
      b'content-type: application/x-npy\r\ncontent-length: 5000\r\n\r\nx'
    )
  began = time.monotonic()
  # Others are served meanwhile: twenty bodies hold places, of 32.
  assert serving.propose(port, _rows(9))[0] == 200
  for connection in slow:
    connection.settimeout(10)
    with connection, contextlib.suppress(ConnectionError):
      answer = connection.recv(4096)
      assert not answer or b' 408 ' in answer.split(b'\r\n')[0], answer
  assert time.monotonic() - began < 10
  _until(lambda: b'requests_waiting 0' in _metrics(port))
  assert serving.propose(port, _rows(9))[0] == 200


def test_a_client_that_leaves_frees_its_place(one):
  port, _ = one
  for _ in range(3):
    with socket.create_connection(('127.0.0.1', port)) as connection:
      connection.sendall(
        b'POST /v1/proposals HTTP/1.1\r\nhost: x\r\n'
        b'content-type: application/x-npy\r\ncontent-length: 5000\r\n\r\nxx'
      )
  _until(lambda: b'requests_waiting 0' in _metrics(port))
  with socket.create_connection(('127.0.0.1', port)) as connection:
    connection.sendall(b'\x16\x03\x01 no HTTP at all\r\n\r\n')
    assert b' 400 ' in connection.recv(4096)
  assert serving.propose(port, _rows(9))[0] == 200


def test_what_fails_inside_is_500_and_not_the_end(monkeypatch, caplog):
  trained = test_exporting._template()
  with serving.served(trained) as (port, _):
    with monkeypatch.context() as patch:
      patch.setattr(
        type(trained.predictor),
        'video',
        lambda *_: (_ for _ in ()).throw(KeyError),
      )
      assert serving.propose(port, _rows(9))[0] == 500
    assert serving.propose(port, _rows(9))[0] == 200


def test_hosts():
  assert server.is_loopback('127.0.0.1') and server.is_loopback('localhost')
  assert not server.is_loopback('0.0.0.0') and not server.is_loopback('')
  with pytest.raises(ValueError, match='no.such.host.invalid'):
    server.is_loopback('no.such.host.invalid')
  with server.bound('127.0.0.1', 0) as first:
    with pytest.raises(ValueError, match='cannot be had'):
      server.bound('127.0.0.1', first.getsockname()[1])


def _metrics(port):
  return serving.ask(port, 'GET', '/metrics')[1]


def _until(true, seconds=30):
  end = time.monotonic() + seconds
  while not true():
    assert time.monotonic() < end
    time.sleep(0.02)
