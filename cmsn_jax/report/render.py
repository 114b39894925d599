"""The report: one HTML file that shows what was found, and where, and missed.

Nothing is fetched from anywhere: style, script, numbers and pictures are in
the file; only videos, which are large, are linked beside it.
"""

import base64
import hashlib
import html
import json
import os
import pathlib
import re

from cmsn_jax.evaluation import paper_tables
from cmsn_jax.files import replacing
from cmsn_jax.report import page as report_page
from cmsn_jax.report import palette, tables

_ASSETS = pathlib.Path(__file__).parent / 'assets'
# Order is important: each uses names of those before it.
_SCRIPTS = (
  'core.js',
  'charts.js',
  'video.js',
  'timeline_view.js',
  'timeline.js',
  'labels.js',
  'threshold.js',
  'part.js',
  'videos.js',
  'main.js',
)
_HEADLINE = (50, 100, 200)
_PROTOCOLS = {
  'thumos': 'tIoU 0.5 … 1.0, eleven steps, on frame spans; the convention of '
  'THUMOS14’s published tables',
  'anet': 'tIoU 0.5 … 0.95, ten steps, in seconds; ActivityNet’s evaluation',
  'top_k': 'each video’s K best, every video counts; ten tIoUs in seconds',
}


def write(
  path: str | os.PathLike,
  page: dict[str, object],
  *,
  title: str = 'Temporal action proposals',
  subset: str = '',
  sources: tuple[str, ...] = (),
  notes: tuple[str, ...] = (),
) -> int:
  """Writes the page, whole or not at all.

  Args:
    path: the HTML file.
    page: from `report_page.page`.
    title: heading of the page.
    subset: which part of the data set it shows; '' where that has no name.
    sources: what it was made from, for the footer.
    notes: remarks to show at the top.
  Returns:
    size of the file in bytes.
  """
  text = render(page, title=title, subset=subset, sources=sources, notes=notes)
  with replacing.file(path) as file:
    file.write(text)
  return len(text.encode('utf-8'))


def render(
  page: dict[str, object],
  *,
  title: str = 'Temporal action proposals',
  subset: str = '',
  sources: tuple[str, ...] = (),
  notes: tuple[str, ...] = (),
) -> str:
  """The page as HTML; see `write`."""
  page = dict(page)
  rows = page.pop('metrics', [])
  compare = dict(page.get('compare') or {})
  others = compare.pop('metrics', [])
  page['compare'] = compare or None
  losses = page.pop('losses', None)
  page['references'] = _references(page['protocol'])
  script = '\n'.join(
    (_ASSETS / name).read_text(encoding='utf-8').replace("'use strict';\n", '')
    for name in _SCRIPTS
  )
  script = "'use strict';\n" + script
  has_truth = page['has_truth']
  parts = {
    'policy': _policy(script),
    'title': html.escape(title),
    'style': _style(),
    'lead': _lead(page, subset),
    'notes': ''.join(_note(text) for text in (*notes, *_limits(page))),
    'headline': _headline(rows, page) if rows else '',
    'table': _table(rows, page['protocol']) if rows else '',
    'curves_hidden': '' if has_truth else 'hidden',
    'weak_hidden': '' if has_truth else 'hidden',
    'compare_hidden': '' if others else 'hidden',
    'compare_table': tables.compared(rows, others, page['names'])
    if others
    else '',
    'losses_hidden': '' if losses else 'hidden',
    'losses': tables.losses(losses) if losses else '',
    'reference': _reference_choice(page) if page['references'] else '',
    'tiou_an': _tiou_an(rows, page['protocol']),
    'diagnostic_top': str(page['diagnostic_top']),
    'truth_key': _TRUTH_KEY if has_truth else '',
    'stage_key': _stage_key(page['stages']),
    'footer': _footer(sources),
    'data': embedded_json(page),
    'script': script,
  }
  template = (_ASSETS / 'template.html').read_text(encoding='utf-8')
  # One pass: what is filled in is never searched for place holders again.
  return re.sub(r'\{\{(\w+)\}\}', lambda found: parts[found[1]], template)


def embedded_json(value: object) -> str:
  """JSON that cannot end the script element it stands in."""
  text = json.dumps(
    value, ensure_ascii=False, allow_nan=False, separators=(',', ':')
  )
  for character in '<>&\u2028\u2029':
    text = text.replace(character, f'\\u{ord(character):04x}')
  return text


def _policy(script: str) -> str:
  """Only this script runs, and nothing but video files is loaded."""
  digest = hashlib.sha256(script.encode('utf-8')).digest()
  return html.escape(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "media-src 'self' file: http: https:; "
    f"script-src 'sha256-{base64.b64encode(digest).decode('ascii')}'"
  )


def _style() -> str:
  style = (_ASSETS / 'report.css').read_text(encoding='utf-8')
  colours = ''.join(
    f'--stage-{stage}: {colour}; '
    for stage, colour in enumerate(palette.STAGES)
  )
  # The dark page has its own, brighter ones.
  return f':root {{ {colours}}}\n{style}'


def _plural(count: int, noun: str) -> str:
  return f'<b>{count:,}</b> {noun}{"" if count == 1 else "s"}'


def _lead(page: dict[str, object], subset: str) -> str:
  facts = [_plural(len(page['videos']), 'video')]
  if page['has_truth']:
    facts.append(_plural(page['num_truth'], 'true segment'))
  facts.append(_plural(page['num_proposals'], 'proposal'))
  if len(page['labels']) > 1:
    facts.append(_plural(len(page['labels']), 'label'))
  if subset:
    facts.append(f'subset <b>{html.escape(subset)}</b>')
  return '  ·  '.join(facts)


def _note(text: str) -> str:
  return f'<p class="note-box">{html.escape(text)}</p>'


def _limits(page: dict[str, object]) -> list[str]:
  found = []
  if not page['has_truth']:
    found.append(
      'No ground truth was given: the page shows proposals, not how good they '
      'are.'
    )
  if page['most_proposals'] > page['max_proposals']:
    found.append(
      f'The timelines hold each video’s best {page["max_proposals"]} proposals '
      f'of up to {page["most_proposals"]:,}; the figures count all of them.'
    )
  if page['averaged_stages']:
    found.append(
      'Stages of long videos are averaged over neighbouring snippets to keep '
      'the page small.'
    )
  return found


def _headline(rows: list, page: dict[str, object]) -> str:
  (chosen,) = [row for row in rows if row.protocol == page['protocol']]
  known = {an: ar for an, ar in chosen.ar_at_an.items() if ar is not None}
  wanted = [an for an in known if int(an) in _HEADLINE] or list(known)[-3:]
  cells = ''.join(
    f'<div><b>{tables.share(known[an])}<small>%</small></b><span>AR@{an}</span></div>'
    for an in wanted
  )
  missing = ''
  if len(known) < len(chosen.ar_at_an):
    missing = ' A dash: the lists hold fewer proposals than that.'
  if not cells:
    cells = (
      '<div><b>–</b><span>fewer proposals than any AN asked for</span></div>'
    )
  return (
    f'<div class="numbers">{cells}</div><p class="explain">AR@AN is the '
    'share of true segments that are found when each list is cut so that '
    'videos keep AN proposals on average, averaged over how much overlap '
    f'(tIoU) is asked for. Protocol <b>{chosen.protocol}</b>: '
    f'{_PROTOCOLS[chosen.protocol]}.{missing}</p>'
  )


def _table(rows: list, protocol: str) -> str:
  ans = list(rows[0].ar_at_an)
  head = ''.join(f'<th class="number">AR@{an}</th>' for an in ans)
  body = ''
  for row in rows:
    cells = ''.join(
      f'<td class="number">{tables.share(row.ar_at_an[an])}</td>' for an in ans
    )
    tious = row.tiou_thresholds
    silent = len(row.videos_without_proposals)
    body += (
      f'<tr class="{"main" if row.protocol == protocol else ""}">'
      f'<th scope="row">{row.protocol}</th>{cells}'
      # Of the other protocols it would end at whatever AN the lists reach.
      f'<td class="number">'
      f'{tables.share(row.auc if row.protocol == "anet" else None)}</td>'
      f'<td class="number"><small>{len(tious)} tIoUs {min(tious):g}–'
      f'{max(tious):g}</small></td>'
      f'<td class="number">{row.num_videos:,}</td>'
      f'<td class="number">{row.num_ground_truth:,}</td>'
      f'<td class="number">{row.num_proposals:,}</td>'
      f'<td class="number">{silent:,}</td></tr>'
    )
  return (
    '<div class="scroll"><table class="plain" id="protocols"><thead><tr>'
    f'<th>protocol</th>{head}<th class="number">AUC</th>'
    '<th class="number">averaged over</th><th class="number">videos</th>'
    '<th class="number">true segments</th><th class="number">proposals</th>'
    '<th class="number">videos without proposals</th>'
    f'</tr></thead><tbody>{body}</tbody></table></div>'
  )


def _tiou_an(rows: list, protocol: str) -> str:
  ans = {row.protocol: row.recall_an for row in rows}
  return f'AN = {ans[protocol]:.0f}' if ans.get(protocol) else 'AN = 100'


def _references(protocol: str) -> dict[str, list[dict]] | None:
  """The paper's rows; they mean something in its own protocol only."""
  if protocol != 'thumos':
    return None
  found = {}
  for key, table in (
    ('c3d', paper_tables.C3D),
    ('two_stream', paper_tables.TWO_STREAM),
  ):
    found[key] = [
      {
        'name': name,
        'named': name.endswith('Soft-NMS') or name.startswith('TURN'),
        'kind': 'paper' if name.startswith('CMSN') else 'others',
        'points': [
          [an, value / 100] for an, value in zip(paper_tables.ANS, values)
        ],
      }
      for name, values in table.items()
    ]
  return found


def _reference_choice(page: dict[str, object]) -> str:
  """Shown at once for THUMOS14's own videos, on request for any others."""
  ids = [video['id'] for video in page['videos']]
  is_thumos = report_page.is_thumos14(ids)
  options = (
    ('none', 'no published figures', not is_thumos),
    ('c3d', 'the paper’s Table 1 (C3D)', is_thumos),
    ('two_stream', 'the paper’s Table 2 (2-Stream)', False),
  )
  choices = ''.join(
    f'<option value="{value}"{" selected" if chosen else ""}>{text}</option>'
    for value, text, chosen in options
  )
  return (
    '<p class="choice"><label>Compare with <select id="reference">'
    f'{choices}</select></label> These are figures on THUMOS14’s test set, as '
    'published; they compare only with results on the same videos.</p>'
  )


_TRUTH_KEY = (
  '<span><span class="key"><i class="box truth"></i>true segment, found</span>'
  '<span class="key"><i class="box missed"></i>missed</span>'
  '<span class="key"><i class="box hit"></i>proposal that matches one</span>'
  '<span class="key"><i class="box other"></i>other proposal</span></span>'
)


def _stage_key(names: list[str]) -> str:
  keys = ''.join(
    f'<span class="key"><i class="box" style="background:var(--stage-{stage})">'
    f'</i>{html.escape(name)}</span>'
    for stage, name in enumerate(names)
  )
  return f'<span id="stage-key">{keys}</span>'


def _footer(sources: tuple[str, ...]) -> str:
  made = ', '.join(f'<code>{html.escape(name)}</code>' for name in sources)
  return '<p>Made by cmsn_jax' + (f' from {made}' if made else '') + '.</p>'
