r"""Films one minute of use of the review page, for docs/review.md.

    python -m tests.review.filming docs/review.webp

The recordings are drawn here: an animal in a box that walks, rears up and
grooms. Every key is really pressed, in a real browser.
"""

import contextlib
import io
import pathlib
import sys
import tempfile
import time

import numpy as np
from PIL import Image

from cmsn_jax.files import proposal_files
from cmsn_jax.review import inputs, session
from tests.launch import webdriver
from tests.review import driving, running

_FPS, _SECONDS, _TALL, _WIDE = 10, 60, 270, 480
# Seconds; what happens, of which the proposals know more or less.
_HAPPENS = (
  (4.0, 9.0, 'rear'), (14.5, 19.0, 'groom'), (25.0, 28.5, 'rear'),
  (36.0, 43.0, 'groom'), (49.0, 53.0, 'rear'),
)  # fmt: skip
_PROPOSED = (
  (4.1, 9.2, 0.91, 'rear'), (14.4, 18.8, 0.83, 'groom'),
  (23.9, 28.5, 0.52, 'groom'), (30.2, 33.0, 0.38, 'rear'),
  (36.2, 43.1, 0.86, 'groom'), (48.8, 51.0, 0.61, 'rear'),
  (11.0, 13.0, 0.05, 'rear'), (44.0, 47.5, 0.1, 'groom'),
  (3.0, 6.0, 0.06, 'groom'), (50.5, 54.0, 0.08, 'rear'),
)  # fmt: skip
# What is pressed, what is said of it, how often it is pressed.
_STEPS = (
  ('', 'What is most worth a look comes first', 1),
  ('Tab', 'Tab: the next uncertain segment', 1),
  ('Shift+ArrowRight', 'Shift + →: a second on', 1),
  ('.', '. : a frame on. Now it rears up', 1),
  ('i', 'i: it starts here', 1),
  ('2', '2: its name is “rear”', 1),
  # In a loop: how fast this machine is decides nothing of what was looked at.
  ('o', 'o: play it in a loop', 1),
  ('wait', 'o: play it in a loop', 3),
  ('k', 'k: pause. What was played was looked at', 1),
  ('Tab', 'Tab: the next one; it ends too early', 1),
  ('Shift+ArrowRight', 'Shift + →: a second on', 4),
  ('.', '. : a frame on', 2),
  ('e', 'e: it ends here', 1),
  ('Tab', 'Tab: the next one', 1),
  ('Enter', 'Enter: play it', 1),
  ('wait', 'Enter: play it', 2),
  ('x', 'x: reject. The next one comes up by itself', 1),
  ('k', 'k: pause', 1),
  ('a', 'a: accept', 2),
  ('u', 'u: undo', 1),
  ('Ctrl+y', 'Ctrl + Y: redo', 1),
  ('0', '0: all of the recording. Teal: looked at', 1),
  ('?', '', 2),
  ('Escape', '', 1),
  ('Shift+D', 'Shift + D: the recording is done', 2),
)


def film(path: pathlib.Path) -> None:
  """An animal, seen from the side, as a WebM film."""
  import av

  down, along = np.ogrid[:_TALL, :_WIDE]
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libvpx', rate=_FPS)
    stream.width, stream.height, stream.pix_fmt = _WIDE, _TALL, 'yuv420p'
    stream.options = {'deadline': 'realtime', 'g': '10', 'cpu-used': '8'}
    for k in range(_SECONDS * _FPS):
      picture = _picture(k / _FPS, down, along)
      frame = av.VideoFrame.from_ndarray(picture, 'rgb24')
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def _picture(now, down, along):
  label = next((x for a, b, x in _HAPPENS if a <= now < b), '')
  # It walks only while nothing else happens.
  walked = now - sum(min(max(now - a, 0), b - a) for a, b, _ in _HAPPENS)
  x = _WIDE * (0.5 + 0.33 * np.sin(walked * 0.45))
  way = np.sign(np.cos(walked * 0.45)) or 1.0
  body, head, up = (52, 27), (46, -12), 0.0
  if label == 'rear':
    body, head, up = (27, 50), (10, -58), 26.0
  elif label == 'groom':
    body, head = (40, 33), (30, 8 + 5 * np.sin(now * 14))
  floor = 208.0
  centre = floor - body[1] - up * 0.3
  picture = np.empty((_TALL, _WIDE, 3), np.float32)
  picture[:] = (226, 221, 210)
  picture[int(floor) :] = (190, 178, 158)

  def spot(at, size, colour):
    inside = ((along - at[0]) / size[0]) ** 2 + ((down - at[1]) / size[1]) ** 2
    picture[inside < 1] = colour

  for k in range(10):
    share = k / 10
    spot(
      (x - way * (body[0] + 62 * share), floor - 8 - 14 * share**2), (7, 6),
      (150, 128, 118),
    )  # fmt: skip
  spot((x, centre), body, (96, 84, 80))
  spot((x + way * head[0], centre + head[1]), (24, 19), (96, 84, 80))
  spot(
    (x + way * (head[0] - 8), centre + head[1] - 18), (9, 10), (140, 112, 106)
  )
  spot(
    (x + way * (head[0] + 9), centre + head[1] - 4), (3.5, 3.5), (20, 18, 18)
  )
  return picture.astype(np.uint8)


def frames(folder: pathlib.Path) -> list[Image.Image]:
  """What the page shows after each step, scaled down."""
  (folder / 'videos').mkdir()
  film(folder / 'videos' / 'cage_3.webm')
  best = sorted(_PROPOSED, key=lambda row: -row[2])
  found = {
    'cage_3': proposal_files.Proposals(
      np.array([row[:2] for row in best]), np.array([row[2] for row in best]),
      tuple(row[3] for row in best),
    )
  }  # fmt: skip
  opened = session.Session(
    inputs.gather(found, videos=folder / 'videos'), folder / 'corrected.json'
  )
  taken = []
  with (
    webdriver.started() as browser,
    running.in_thread(opened) as client,
  ):
    browser.size(1200, 750)
    browser.scheme('light')
    page = driving.Page(browser, client, folder / 'corrected.json')
    page.open()
    page.wait('return app.player.element.readyState >= 2')
    for key, words, count in _STEPS:
      for turn in range(count):
        # The keys and the end are only shown for longer.
        if key and key != 'wait' and (not turn or key not in ('?', 'Shift+D')):
          page.press(key)
        page.settled()
        _say(page, words)
        page.wait('return !app.timeline.dirty && !app.player.element.seeking')
        time.sleep(0.8 if key == 'wait' else 0.25)
        browser.screenshot(folder / 'frame.png')
        with Image.open(folder / 'frame.png') as image:
          taken.append(image.convert('RGB').resize((960, 600), Image.LANCZOS))
    page.clean()
    browser.open('about:blank')
  return taken


def _say(page, words):
  """What is pressed, over the picture; by CSSOM, which the policy allows."""
  page.run(
    """
    const [words] = arguments;
    let node = document.getElementById('said');
    if (!node) {
      node = document.createElement('div');
      node.id = 'said';
      Object.assign(node.style, { position: 'fixed', left: '50%', top: '12px',
        transform: 'translateX(-50%)', background: '#17212b', color: '#fff',
        padding: '9px 20px', borderRadius: '9px', fontSize: '19px', zIndex: 99 });
    }
    (document.querySelector('dialog[open]') || document.body).append(node);
    node.textContent = words;
    node.hidden = !words;
    """,
    words,
  )


def write(path: pathlib.Path, taken: list[Image.Image], seconds: float) -> None:
  """An animated picture that takes `seconds` and goes round for ever."""
  packed = io.BytesIO()
  taken[0].save(
    packed, 'WEBP', save_all=True, append_images=taken[1:], loop=0, quality=60,
    method=4, duration=round(1000 * seconds / len(taken)),
  )  # fmt: skip
  path.write_bytes(packed.getvalue())


if __name__ == '__main__':
  with (
    contextlib.suppress(KeyboardInterrupt),
    tempfile.TemporaryDirectory() as made,
  ):
    write(pathlib.Path(sys.argv[1]), frames(pathlib.Path(made)), 60)
