"""Tables of the report that need no script: both runs, and what steps lose."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN_TIOUS = (0, 2, 4, 6, 8)

_STEPS = {
  'durations': 'every start and duration of the grid',
  'perfect_stages': 'candidates, were the stages perfect',
  'candidates': 'candidates of the predicted stages',
  'scored': 'borders mended and scored',
  'kept': 'after the NMS',
}


def share(value: float | None) -> str:
  """A fraction as per cent with one digit; a dash where there is none."""
  return '–' if value is None else f'{100 * value:.1f}'


def compared(
  own: Sequence[Any], other: Sequence[Any], names: Sequence[str]
) -> str:
  """AR@AN of two runs, one below the other, and by how much the first is ahead.

  Args:
    own: `metrics.Metrics` of each protocol.
    other: the other run's, in the same order.
    names: of both.
  """
  ans = list(own[0].ar_at_an)
  head = ''.join(f'<th class="number">AR@{an}</th>' for an in ans)
  body = ''
  for a, b in zip(own, other, strict=True):
    for name, row in zip(names, (a, b)):
      cells = ''.join(
        f'<td class="number">{share(row.ar_at_an[an])}</td>' for an in ans
      )
      body += (
        f'<tr><th scope="row">{a.protocol}</th><td class="id">'
        f'{html.escape(name)}</td>{cells}'
        f'<td class="number">{row.num_proposals:,}</td></tr>'
      )
    cells = ''.join(
      f'<td class="number">{_difference(a.ar_at_an[an], b.ar_at_an[an])}</td>'
      for an in ans
    )
    body += (
      f'<tr class="main"><th scope="row"></th><td class="id">'
      f'{html.escape(names[0])} − {html.escape(names[1])}</td>{cells}'
      '<td></td></tr>'
    )
  return (
    '<div class="scroll spaced"><table class="plain" id="compared"><thead><tr>'
    f'<th>protocol</th><th>run</th>{head}<th class="number">proposals</th>'
    f'</tr></thead><tbody>{body}</tbody></table></div>'
  )


def _difference(a, b):
  if a is None or b is None:
    return '–'
  return _change(a - b)


def _change(value):
  """A share's change in points; what is rounded to none has no colour."""
  text = f'{100 * abs(value):.1f}'
  if text == '0.0':
    return '<span>0.0</span>'
  if value < 0:
    return f'<span class="lost">−{text}</span>'
  return f'<span class="gained">+{text}</span>'


def losses(diagnosis: Mapping[str, Any]) -> str:
  """What each step of a chain leaves within reach; see `step_recall.to_json`."""
  tious = diagnosis['tiou_thresholds']
  shown = [k for k in _SHOWN_TIOUS if k < len(tious)]
  head = ''.join(f'<th class="number">≥ {tious[k]:g}</th>' for k in shown)
  body = ''
  for step in diagnosis['steps']:
    lost = step['lost']
    gone = max(lost or 0.0, 0.0)
    cells = ''.join(
      f'<td class="number">{share(step["recall"][k])}</td>' for k in shown
    )
    change, by = '', ''
    if lost is not None:
      change = _change(-lost)
      by = html.escape(step['lost_by'])
    body += (
      f'<tr><th scope="row">{html.escape(_title(step["name"]))}</th>'
      f'<td class="number">{step["per_video"]:,.0f}</td>'
      f'<td><span class="reach" style="--share: {step["average"]:.4f}; '
      f'--gone: {gone:.4f}"><i></i><i class="lost"></i>'
      f'<b>{share(step["average"])}</b></span></td>'
      f'<td class="number">{change}</td><td>{by}</td>{cells}</tr>'
    )
  return (
    '<div class="scroll"><table class="plain" id="steps"><thead><tr>'
    '<th>step</th><th class="number">a video</th>'
    '<th>within reach, %, mean</th><th class="number">change</th>'
    f'<th>by</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
  )


def _title(name):
  if name.startswith('top_'):
    return f'each video’s best {name.removeprefix("top_")}'
  return _STEPS.get(name, name)
