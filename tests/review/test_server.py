"""The page's server: what it answers, and whom it refuses."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

pytest.importorskip('starlette', reason='pip install cmsn_jax[review]')
pytest.importorskip('uvicorn', reason='pip install cmsn_jax[review]')

from cmsn_jax.review import inputs, session
from tests.review import made, running

_ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('review')
  made.write(folder)
  made.features(folder / 'features', 'day2')
  made.stages(folder / 'stages', 'day1')
  videos = folder / 'videos'
  videos.mkdir()
  made.film(videos / 'day1.webm', seconds=120, fps=2)
  made.film(folder / 'elsewhere.webm', seconds=1)
  (videos / 'day3.webm').symlink_to(folder / 'elsewhere.webm')
  return folder


def _session(folder, output):
  with pytest.warns(inputs.ReviewWarning, match='1 videos such as day3.webm'):
    found = made.gathered(folder)
  return session.Session(found, output)


@pytest.fixture
def client(folder, tmp_path):
  with running.in_thread(_session(folder, tmp_path / 'c.json')) as found:
    yield found


@pytest.fixture(scope='module')
def reader(folder, tmp_path_factory):
  """A client for what changes nothing."""
  output = tmp_path_factory.mktemp('reader') / 'c.json'
  with running.in_thread(_session(folder, output)) as found:
    yield found


def test_the_page_and_all_it_names_are_there(reader):
  status, headers, body = reader.ask('')
  assert status == 200 and headers['content-type'].startswith('text/html')
  policy = headers['content-security-policy']
  assert "default-src 'none'" in policy and 'unsafe' not in policy
  page = body.decode()
  names = [part.split('"')[0] for part in page.split('assets/')[1:]]
  assert 'main.js' in names and 'palette.css' in names
  for name in names:
    status, headers, _ = reader.ask(f'assets/{name}')
    assert status == 200, name
    assert headers['x-content-type-options'] == 'nosniff'
  assert '://' not in page


def test_overview_and_recording(reader):
  found = reader.get('api/overview')
  assert [row['id'] for row in found['recordings']] == ['day1', 'day2', 'day3']
  day1, _, day3 = found['recordings']
  assert day1['open'] == 30 and day1['video'] and day1['gain'] > 0
  assert day3['given'] == 2 and not day3['video']
  assert found['labels'] == ['groom', 'rear'] and found['name'] == 'Ada'
  one = reader.get('api/recording/day3')
  assert len(one['items']) == 32 and one['fps'] == 25.0
  assert one['seen'] == [[0.0, 120.0]] and one['columns'][:3] == [
    'key',
    'start',
    'end',
  ]
  assert reader.ask('api/recording/day9')[0] == 404


def test_stages_and_curves(reader):
  status, _, body = reader.ask('api/stages/day1')
  assert status == 200 and len(body) == 600 * 6
  assert reader.get('api/recording/day1')['stages'] == 5.0
  found = reader.get('api/curves/day2?from=10&to=20&points=20')
  assert found['from'] == 10.0 and found['step'] == pytest.approx(0.6)
  assert len(found['curves']) == 6
  for curve in found['curves']:
    assert len(curve['low']) == len(curve['high']) == 17
    assert all(0 <= a <= b <= 255 for a, b in zip(curve['low'], curve['high']))
  assert reader.ask('api/curves/day1')[0] == 404
  assert reader.ask('api/curves/day2?from=abc')[0] == 400
  assert reader.ask('api/stages/day2')[0] == 404


def test_videos_seek_by_ranges(reader, folder):
  whole = (folder / 'videos' / 'day1.webm').read_bytes()
  status, headers, body = reader.ask('video/day1')
  assert (status, body) == (200, whole)
  assert headers['content-type'] == 'video/webm'
  status, headers, body = reader.ask('video/day1', Range='bytes=100-199')
  assert (status, body) == (206, whole[100:200])
  assert headers['content-range'] == f'bytes 100-199/{len(whole)}'
  status, _, body = reader.ask('video/day1', Range='bytes=-50')
  assert (status, body) == (206, whole[-50:])
  assert reader.ask('video/day1', Range=f'bytes={len(whole)}-')[0] == 416


def test_an_action_is_in_the_journal_when_it_is_answered(client, tmp_path):
  status, answer = client.act('change', item='p0', segment=[20.0, 30.0])
  assert status == 200
  assert answer['changed']['p0'][:2] == [20.0, 30.0]
  assert answer['seen'] == [[15.0, 35.0]] and answer['can_undo']
  lines = (tmp_path / 'c.json.journal').read_text().splitlines()
  assert json.loads(lines[-1])['segment'] == [20.0, 30.0]
  assert json.loads(lines[-1])['by'] == 'Ada'
  status, answer = client.act('undo')
  assert answer['changed']['p0'][4] == 'open' and answer['can_redo']
  assert client.act('accept', item='p99') == (
    400, {'error': "no segment 'p99' in this recording"},
  )  # fmt: skip


def test_the_output_is_there_when_the_server_ends(folder, tmp_path):
  with running.in_thread(_session(folder, tmp_path / 'c.json')) as client:
    client.act('accept', item='p0')
    status, answer = client.post('api/export', {'format': 'srt'})
    assert status == 200
    assert {p.name for p in pathlib.Path(answer['path']).iterdir()} == {
      'day1.srt', 'day3.srt',
    }  # fmt: skip
    assert client.post('api/export', {'format': '../../x'})[0] == 400
  written = json.loads((tmp_path / 'c.json').read_text())
  assert len(written['database']['day1']['annotations']) == 1


def test_the_second_window_is_told(client):
  assert client.post('api/beat', {'window': 'one'})[1]['holds']
  assert not client.post('api/beat', {'window': 'two'})[1]['holds']
  status, answer = client.act('accept', item='p0', window='two')
  assert status == 409 and 'another window' in answer['error']
  assert client.act('accept', item='p0', window='one')[0] == 200
  assert client.post('api/beat', {'window': 'two', 'take': True})[1]['holds']
  assert client.act('reject', item='p1', window='one')[0] == 409
  client.post('api/leave', {'window': 'two'})
  assert client.post('api/beat', {'window': 'one'})[1]['holds']


@pytest.mark.parametrize(
  'path',
  [
    '/', '/wrong/', '/wrong/api/overview', '/secre/api/overview',
    '/secret2/', '/api/overview', '//secret/', '/secret%00/',
  ],
)  # fmt: skip
def test_a_wrong_token_is_refused(reader, path):
  status, _, body = reader.ask(path, whole=True)
  assert status == 403 and b'token' in body


@pytest.mark.parametrize(
  'host', ['evil.example', 'evil.example:80', '127.0.0.1', 'localhost:1', '']
)
def test_a_foreign_host_is_refused(reader, host):
  status, _, body = reader.ask('api/overview', Host=host)
  assert status == 403 and b'Host' in body


def test_the_name_of_this_machine_is_no_foreign_host(reader):
  port = reader.host.partition(':')[2]
  assert reader.ask('api/overview', Host=f'localhost:{port}')[0] == 200


@pytest.mark.parametrize(
  'headers',
  [
    {'Origin': 'http://evil.example'},
    {'Origin': 'null'},
    {'Origin': 'http://127.0.0.1:1'},
    {'Sec-Fetch-Site': 'cross-site'},
    {'Sec-Fetch-Site': 'same-site'},
  ],
)
def test_other_pages_are_refused(client, headers):
  body = {'window': 'w', 'recording': 'day1', 'action': 'accept', 'item': 'p0'}
  assert client.ask('api/act', body, **headers)[0] == 403
  assert client.ask('api/overview', **headers)[0] == 403
  assert client.get('api/overview')['number'] == 0
  own = {'Origin': f'http://{client.host}', 'Sec-Fetch-Site': 'same-origin'}
  assert client.ask('api/act', body, **own)[0] == 200


def test_forms_and_other_methods_are_refused(client):
  body = b'{"window": "w", "recording": "day1", "action": "done"}'
  assert client.ask('api/act', body, Content_Type='text/plain')[0] == 415
  assert client.ask('api/act', body, method='PUT')[0] == 405
  assert client.ask('api/act')[0] == 405
  assert client.ask('api/act', b'[1]')[0] == 400
  assert client.ask('api/act', b'{' * 9)[0] == 400
  # No file could hold these.
  for body in (b'{"by": NaN}', b'{"by": "\\ud800"}'):
    assert client.ask('api/act', body)[0] == 400
  assert client.ask('api/act', b' ' * (1 << 20) + b'{}')[0] == 413
  assert client.get('api/overview')['number'] == 0


@pytest.mark.parametrize(
  'path',
  [
    'video/../../etc/passwd', 'video/..%2f..%2fetc%2fpasswd',
    'video/%2e%2e/%2e%2e/proposals.json', 'video//etc/passwd',
    'video/%2fetc%2fpasswd', 'video/../annotations.json', 'video/day2',
    'video/day1.webm', 'assets/../server.py', 'assets/..%2fserver.py',
    'assets/%2e%2e%2f__init__.py', 'assets//etc/passwd',
    'api/recording/..%2f..%2fx', 'api/curves/..%2fday2', 'api/stages/..%2fday1',
    '../secret/api/overview',
  ],
)  # fmt: skip
def test_paths_lead_nowhere_else(reader, path):
  status, _, body = reader.ask(path)
  assert status in (403, 404), body[:80]
  assert b'root:' not in body and b'import' not in body


def test_a_link_out_of_the_folder_is_not_followed(reader, client, folder):
  # It was one from the beginning.
  assert reader.ask('video/day3')[0] == 404
  # It became one while the server runs.
  file = folder / 'videos' / 'day1.webm'
  kept = file.with_suffix('.kept')
  file.rename(kept)
  try:
    file.symlink_to(folder / 'elsewhere.webm')
    status, _, body = client.ask('video/day1')
    assert status == 403 and b'leads out of its folder' in body
  finally:
    file.unlink()
    kept.rename(file)


def test_the_command_outlives_a_kill_and_writes_at_the_end(folder, tmp_path):
  arguments = [
    f'--proposals={folder}/proposals.json',
    f'--annotations={folder}/annotations.json',
    f'--output={tmp_path}/c.json',
    '--name=Bo',
    '--format=csv',
  ]
  with running.command(*arguments) as (client, process):
    assert client.get('api/overview')['name'] == 'Bo'
    assert client.act('accept', item='p0')[0] == 200
    assert client.act('label', item='p1', label='jump')[0] == 200
    process.send_signal(signal.SIGKILL)
    process.wait()
  with running.command(*arguments) as (client, process):
    assert 'goes on after 2 actions' in client.said
    (day1, *_) = client.get('api/overview')['recordings']
    assert day1['accepted'] == 2
    with running.command(*arguments) as (second, other):
      assert 'this window only shows it' in second.said
      assert second.get('api/overview')['read_only']
      assert second.act('accept', item='p2')[0] == 409
      assert client.act('reject', item='p2')[0] == 200
      assert second.get('api/overview')['recordings'][0]['rejected'] == 1
      other.terminate()
      assert other.wait(20) == 0
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
  assert '3 actions in' in process.said
  found = json.loads((tmp_path / 'c.json').read_text())['database']['day1']
  assert len(found['annotations']) == 2
  assert 'jump' in (tmp_path / 'c.csv').read_text()


def test_without_the_extra_it_says_what_to_install(folder, tmp_path):
  code = (
    'import runpy, sys; sys.modules["uvicorn"] = None; '
    f'sys.argv[1:] = ["--proposals={folder}/proposals.json", '
    f'"--output={tmp_path}/c.json"]; '
    'runpy.run_module("launch.review", run_name="__main__")'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=_ROOT, capture_output=True, text=True,
    timeout=60,
  )  # fmt: skip
  assert done.returncode == 1, done.stderr
  assert 'pip install "cmsn_jax[review]"' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['--output={0}/proposals.json'], 'is one of the files that are read'),
    (['--output={1}/c.json', '--format=xls'], '--format must be one of csv'),
    (['--output={1}/c.json', '--annotations=nowhere.json'], 'no such file'),
    ([], '--output is needed'),
  ],
)
def test_wrong_calls_say_why(folder, tmp_path, arguments, message):
  given = [a.format(folder, tmp_path) for a in arguments]
  done = subprocess.run(
    [
      sys.executable, '-m', 'launch.review', '--nobrowser',
      f'--proposals={folder}/proposals.json', *given,
    ],
    cwd=_ROOT,
    capture_output=True, text=True, timeout=60,
  )  # fmt: skip
  assert done.returncode == 2, done.stderr
  assert message in done.stderr.splitlines()[-1]
  assert not os.listdir(tmp_path)
