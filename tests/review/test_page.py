"""The page in a real headless browser: every action, by mouse and keyboard."""

import pytest

pytest.importorskip('starlette', reason='pip install cmsn_jax[review]')
pytest.importorskip('uvicorn', reason='pip install cmsn_jax[review]')

from tests.review import driving

_FPS = driving.FPS


def test_decisions_by_keyboard_only(page):
  page.press('Tab')
  first = page.item()
  assert first['status'] == 'open'
  assert page.run('return app.recording.ranking[0][0]') == first['key']
  page.press('a')
  assert page.item(first['key'])['status'] == 'accepted'
  assert page.last()['by'] == 'Ada'
  # The next one comes up by itself.
  second = page.item()
  assert second['status'] == 'open' and second['key'] != first['key']
  page.press('x')
  assert page.item(second['key'])['status'] == 'rejected'
  page.press('u')
  assert page.item(second['key'])['status'] == 'open'
  page.press('Ctrl+y')
  assert page.item(second['key'])['status'] == 'rejected'
  page.run('app.select(arguments[0])', second['key'])
  words = page.run('return document.getElementById("card").textContent')
  assert words.startswith('rejectedby Ada') and 'null' not in words
  page.press('Ctrl+z', 'Ctrl+z')
  assert page.item(first['key'])['status'] == 'open'
  assert [row['action'] for row in page.actions()] == [
    'accept', 'reject', 'undo', 'redo', 'undo', 'undo',
  ]  # fmt: skip
  page.press('Shift+D')
  assert page.last()['done'] is True
  assert page.run('return document.getElementById("progress").textContent') == (
    '1 of 3 recordings done'
  )
  page.clean()


def test_names_borders_split_and_merge_by_keyboard_only(page):
  page.press('Tab')
  item = page.item()
  page.press('2')
  assert page.last()['label'] == 'rear'
  assert page.item(item['key'])['label'] == 'rear'
  # Where the playhead is, which is on a frame.
  page.press('Shift+ArrowRight', 'i')
  start = round(item['start'] * _FPS + _FPS) / _FPS
  assert page.last()['segment'] == [pytest.approx(start), item['end']]
  page.press('End', 'ArrowLeft', 'e')
  end = page.last()['segment'][1]
  assert end == pytest.approx(page.run('return app.recording.duration') - 0.1)
  page.press('Alt+ArrowRight')
  assert page.last()['segment'][0] == pytest.approx(start + 1 / _FPS)
  page.press('Alt+Shift+ArrowLeft')
  assert page.last()['segment'][1] == pytest.approx(end - 1 / _FPS)
  page.run('app.player.seek(arguments[0])', start + 1)
  page.press('s')
  assert page.last()['at'] == pytest.approx(start + 1)
  made_now = page.item()
  assert made_now['end'] == pytest.approx(start + 1)
  assert made_now['status'] == 'accepted'
  page.press('m')
  merged = page.item()
  assert page.last()['action'] == 'merge'
  assert merged['start'] == pytest.approx(start + 0.1)
  page.press('/')
  page.press('h', 'o', 'p', 'Enter')
  assert page.run('return document.activeElement.id') == ''
  assert page.last()['label'] == 'hop'
  page.clean()


def test_a_new_one_between_two_presses(page):
  page.press('Home', 'Shift+ArrowRight', 'n', 'Shift+ArrowRight')
  assert page.run('return app.timeline.mark') == 1.0
  page.press('n')
  assert page.last()['segment'] == [1.0, 2.0]
  assert page.item()['source'] == 'person'
  page.press('1')
  assert page.last()['label'] == 'groom'
  page.press('n', 'Escape')
  assert page.run('return app.timeline.mark') is None
  page.press('v')
  assert page.last()['action'] == 'look'
  page.clean()


def test_playing_by_keyboard(page):
  shown = 'return app.player.element.currentTime'
  page.wait('return app.player.element.readyState >= 2')
  page.press('ArrowRight', '.', '.', ',')
  assert page.run('return app.player.time') == pytest.approx(0.2)
  page.wait(f'{shown} > 0.2 && app.player.element.currentTime < 0.3')
  speeds = []
  for key in ('l', 'l', ']', 'l', 'l', 'j', '[', 'j', 'J', 'j', 'j', 'j'):
    page.press(key)
    speeds.append(page.run('return app.player.element.playbackRate'))
  assert max(speeds) == 4 and speeds[-1] == 0.25 and 0.5 in speeds
  # Slowly: the film must not be over before a busy machine looks at it.
  page.press(' ')
  page.wait('return app.player.time > 0.6 && !app.player.element.paused')
  page.press(*'llllll')
  assert page.run('return app.player.element.playbackRate') == 3
  page.press('k')
  page.wait('return app.player.element.paused && !app.player.playing')
  time = page.run('return app.player.time')
  assert time * _FPS == pytest.approx(round(time * _FPS))
  # A loop stays within its segment.
  page.press('Tab')
  page.run('app.player.seek(app.selectedItem().end - 0.2)')
  item = page.item()
  page.press('o')
  page.wait('return app.player.playing')
  page.run('app.player.seek(app.selectedItem().end - 0.2)')
  page.wait('return app.player.time < arguments[0]', item['end'] - 0.3)
  assert page.run('return app.player.time') >= item['start'] - 0.01
  page.press(' ', 'o')
  assert page.run('return app.player.loop') is None
  page.clean()


def _place(page, time, key):
  """Where a time of a segment's row is in the window."""
  return page.run(
    """
    const [time, key] = arguments;
    const { timeline, recording } = app;
    const box = timeline.node.getBoundingClientRect();
    const item = recording.items.get(key);
    const open = item.status === 'open';
    const spans = open ? recording.open : recording.kept;
    const track = open ? timeline.tracks.open : timeline.tracks.kept;
    const row = open ? timeline.row : KEPT_ROW;
    const lane = spans.lanes[spans.items.indexOf(item)];
    return [box.left + timeline.x(time), box.top + track.y + (lane + 0.4) * row];
    """,
    time, key,
  )  # fmt: skip


def test_the_mouse_chooses_and_moves_borders_onto_frames(page):
  page.press('Tab')
  item = page.item()
  page.wait('return app.timeline.drawn > 2 && !app.timeline.dirty')
  start = _place(page, item['end'], item['key'])
  wanted = item['end'] - 0.43 * (item['end'] - item['start'])
  end = _place(page, wanted, item['key'])
  page.drag(start, end)
  segment = page.last()['segment']
  assert segment[0] == item['start']
  assert segment[1] == pytest.approx(round(wanted * _FPS) / _FPS, abs=0.101)
  assert segment[1] * _FPS == pytest.approx(round(segment[1] * _FPS))
  # A click on nothing, then on the segment.
  page.press('0')
  page.wait('return !app.timeline.dirty')
  box = page.run(
    'const b = app.timeline.node.getBoundingClientRect(); return [b.right, b.bottom]'
  )
  for kind in ('mousePressed', 'mouseReleased'):
    page.mouse(kind, box[0] - 3, box[1] - 3)
  assert page.item() is None
  page.run('app.timeline.draw()')
  place = _place(page, (segment[0] + segment[1]) / 2, item['key'])
  for kind in ('mousePressed', 'mouseReleased'):
    page.mouse(kind, *place)
  assert page.item()['key'] == item['key']
  page.clean()


def test_shift_and_drag_makes_a_new_one(page):
  page.press('0')
  page.wait('return !app.timeline.dirty')
  page.run('app.timeline.draw()')
  left, top = page.run(
    'const b = app.timeline.node.getBoundingClientRect();'
    'return [b.left + app.timeline.x(3), b.top + app.timeline.tracks.seen.y + 3]'
  )
  right = page.run(
    'return app.timeline.node.getBoundingClientRect().left + app.timeline.x(6)'
  )
  page.drag((left, top), (right, top), modifiers=8)
  action = page.last()
  assert action['action'] == 'add'
  assert action['segment'] == pytest.approx([3.0, 6.0], abs=0.11)
  page.clean()


def test_zoom_and_threshold(page):
  page.press('+', '+')
  span = page.run('return app.timeline.to - app.timeline.from')
  assert span == pytest.approx(0.36 * page.run('return app.recording.duration'))
  page.press('-', '0')
  assert page.run('return app.timeline.from') == 0
  x, y = page.run(
    'const b = app.timeline.node.getBoundingClientRect();'
    'return [b.left + b.width / 2, b.top + b.height / 2]'
  )
  page.browser.devtools(
    'Input.dispatchMouseEvent', type='mouseWheel', x=x, y=y, deltaX=0,
    deltaY=-300, modifiers=2,
  )  # fmt: skip
  page.wait(
    'return app.timeline.to - app.timeline.from < app.recording.duration / 2'
  )
  page.run('app.setThreshold(0.5)')
  page.press('Alt+ArrowUp', 'Alt+ArrowUp', 'Alt+ArrowDown')
  page.settled()
  assert page.run('return app.share()') == pytest.approx(0.52)
  page.run('app.setThreshold(1)')
  assert (
    page.run('return app.recording.countAbove(app.timeline.threshold)') == 1
  )
  page.clean()


def test_features_in_place_of_a_video(page):
  page.show('day2')
  page.wait('return app.timeline.curves && app.timeline.stages')
  assert page.run('return app.timeline.curves.curves.length') == 6
  assert 'features are below' in page.run(
    'return document.getElementById("screen").textContent'
  )
  page.press(' ')
  page.wait('return app.player.time > 0.2')
  page.press(' ', 'ArrowLeft')
  # Snaps to rows of the features.
  time = page.run('return app.player.time') * 5
  assert time == pytest.approx(round(time))
  page.clean()


def test_help_shows_every_key(page):
  page.press('?')
  words = page.run('return document.getElementById("help").textContent')
  for word in ('play, pause', 'next uncertain', 'split', 'redo', 'rear'):
    assert word in words
  assert page.run(
    'return app.keys.table.every(([, keys]) => arguments[0].includes(keys))',
    words,
  )
  page.press('Escape')
  page.wait('return !document.getElementById("help").open')
  page.clean()
