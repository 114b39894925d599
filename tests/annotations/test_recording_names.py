"""Names of recordings, and those that nearly match."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.annotations import recording_names


@pytest.mark.parametrize(
  ('name', 'plain'),
  [
    ('rat_01.mp4', 'rat_01'), ('C:\\data\\rat_01.MP4', 'rat_01'),
    ('/x/y/rat.01.avi', 'rat.01'), ('trial.2', 'trial.2'), ('.mp4', '.mp4'),
    ('a', 'a'), ('x/', ''),
  ],
)  # fmt: skip
def test_plain(name, plain):
  assert recording_names.plain(name) == plain


@pytest.mark.parametrize(
  ('name', 'known', 'alike'),
  [
    ('1', ['001', '002', '011'], ['001']),
    ('Rat_01', ['rat_01', 'rat_02'], ['rat_01']),
    ('rat 1', ['rat_01', 'rat_11'], ['rat_01']),
    ('abc', ['v_abc', 'v_abd'], ['v_abc']),
    ('rat_01', ['rat_01_features', 'rat_02_features'], ['rat_01_features']),
    (unicodedata.normalize('NFD', 'rät'), ['rät'], ['rät']),
    ('rat_01.mpg', ['rat_01'], ['rat_01']),
    ('a', ['b', 'ab'], []),
    ('', ['b'], []),
  ],
)
def test_alike(name, known, alike):
  assert recording_names.alike(name, known) == alike


@settings(max_examples=200)
@given(st.text(max_size=8), st.lists(st.text(max_size=8), max_size=4))
def test_any_names(name, known):
  assert set(recording_names.alike(name, known)) <= set(known)
  assert len(recording_names.plain(name)) <= len(name)
