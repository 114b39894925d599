"""The page of a small review in a browser."""

import pytest

from tests.review import driving, made


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('page')
  made.write(folder, count=24, duration=30.0)
  made.film(folder / 'videos' / 'day1.webm', seconds=30, fps=driving.FPS)
  made.features(folder / 'features', 'day2', duration=30.0)
  made.stages(folder / 'stages', 'day2', duration=30.0)
  return folder


@pytest.fixture
def page(browser, folder, tmp_path):
  pytest.importorskip('starlette', reason='pip install cmsn_jax[review]')
  pytest.importorskip('uvicorn', reason='pip install cmsn_jax[review]')
  from cmsn_jax.review import session
  from tests.review import running

  browser.size(1280, 800)
  browser.scheme('light')
  opened = session.Session(made.gathered(folder), tmp_path / 'c.json')
  with running.in_thread(opened) as client:
    page = driving.Page(browser, client, tmp_path / 'c.json')
    page.open()
    page.show('day1')
    yield page
    # No page may go on asking a server that is gone.
    browser.open('about:blank')
