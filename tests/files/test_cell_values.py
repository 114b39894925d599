"""Numbers and times in cells."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.files import cell_values


@pytest.mark.parametrize(
  ('text', 'decimal', 'number', 'unit'),
  [
    ('1.5', '.', 1.5, None), ('-1', '.', -1, None), ('1e2', '.', 100, None),
    ('1,5', ',', 1.5, None), ('1.201,5', ',', 1201.5, None),
    ('1,201.5', '.', 1201.5, None), ('−2', '.', -2, None),
    ('1.5 s', '.', 1.5, 'seconds'), ('250ms', '.', 250, 'milliseconds'),
    ('2 min', '.', 2, 'minutes'), ('30 frames', '.', 30, 'frames'),
    ('00:00:01.5', '.', 1.5, 'seconds'), ('01:02', '.', 62, 'seconds'),
    ('1:00:00,25', '.', 3600.25, 'seconds'), ('.5', '.', 0.5, None),
  ],
)  # fmt: skip
def test_parse(text, decimal, number, unit):
  found = cell_values.parse(text, decimal)
  assert found.number == pytest.approx(number) and found.unit == unit


def test_time_codes_need_a_rate():
  assert cell_values.parse('00:00:02:15', fps=30).number == 2.5
  with pytest.raises(ValueError, match='--fps=25'):
    cell_values.parse('00:00:02:15')


@pytest.mark.parametrize(
  'text',
  ['', 'x', 'nan', 'inf', '1_0', '1 2', '1,5', '00:61:00', '0x10', '1e999'],
)
def test_what_is_no_number(text):
  with pytest.raises(ValueError):
    cell_values.parse(text)


@pytest.mark.parametrize(
  ('texts', 'sign'),
  [
    (['1', '2'], '.'), (['1.5', '2'], '.'), (['1,5', '2'], ','),
    (['1,201.5', '1,300'], '.'), (['1.201,5', '3'], ','),
    (['0,125', '1,500'], ','), (['1,234,567'], '.'), (['1,5 s'], ','),
    (['00:01,5'], '.'),
  ],
)  # fmt: skip
def test_decimal_sign(texts, sign):
  assert cell_values.decimal_sign(texts) == sign


@pytest.mark.parametrize('texts', [['1,201'], ['1,5', '2.5']])
def test_a_doubtful_sign_is_asked_for(texts):
  with pytest.raises(ValueError, match='--decimal=comma'):
    cell_values.decimal_sign(texts)
  assert cell_values.decimal_sign(texts, ',') == ','


@settings(max_examples=300)
@given(st.floats(0, 1e6).map(lambda x: round(x, 4)), st.sampled_from('.,'))
def test_what_is_written_is_read(value, sign):
  text = f'{value:.4f}'.replace('.', sign)
  assert cell_values.decimal_sign([text]) == sign
  assert cell_values.parse(text, sign).number == pytest.approx(value)
