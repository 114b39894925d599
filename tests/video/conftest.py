"""What several tests of videos ask for."""

import warnings

import pytest


@pytest.fixture
def no_word():
  """No warning where nothing is wrong."""
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    yield
