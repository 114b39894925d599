"""A still picture of one video's timeline: truth, stages, proposals."""

import io
import os
import pathlib
from collections.abc import Iterable

import matplotlib.figure
import matplotlib.ticker
import numpy as np
from jaxtyping import Float, Int, Int64

from cmsn_jax import stage_names
from cmsn_jax.files import replacing
from cmsn_jax.report import palette

_INK, _MUTED, _RULE = '#1c2733', '#5d6b7a', '#d9dee4'
_HATCH = '#b9c2cc'
_TRUTH, _PROPOSAL = '#3a4654', palette.PROPOSAL


class Timeline(matplotlib.figure.Figure):
  """A figure that belongs to no window; a notebook shows it as it is."""

  def _repr_png_(self) -> bytes:
    file = io.BytesIO()
    self.savefig(file, format='png', dpi=100)
    return file.getvalue()


def lanes(spans: Float[np.ndarray, 'n 2']) -> Int64[np.ndarray, ' n']:
  """The row of each span so that no two overlap in a row.

  Spans are placed in the order given, each in the first row that is free
  there, so the best proposals end up on top.

  Args:
    spans: `[n, 2]`, any unit.
  Returns:
    row of each span from 0, `[n]`.
  """
  rows: list[list[tuple[float, float]]] = []
  placed = np.zeros(len(spans), np.int64)
  for index, (start, end) in enumerate(spans):
    free = (
      row
      for row, taken in enumerate(rows)
      if all(end <= left or start >= right for left, right in taken)
    )
    placed[index] = row = next(free, len(rows))
    if row == len(rows):
      rows.append([])
    rows[row].append((start, end))
  return placed


def clock(seconds: float | int) -> str:
  """Seconds as m:ss or h:mm:ss, with tenths only where they are not zero."""
  tenths = round(abs(seconds) * 10)
  whole, tenth = divmod(tenths, 10)
  hours, rest = divmod(whole, 3600)
  text = f'{rest // 60}:{rest % 60:02d}'
  if hours:
    text = f'{hours}:{rest // 60:02d}:{rest % 60:02d}'
  return ('-' if seconds < 0 else '') + text + (f'.{tenth}' if tenth else '')


def figure(
  title: str,
  duration_sec: float | int,
  *,
  true_segments: Float[np.ndarray, 'g 2'] | None = None,
  ignore: Float[np.ndarray, 'k 2'] | None = None,
  labels: tuple[str, ...] = (),
  probabilities: Float[np.ndarray, 't s'] | None = None,
  feature_fps: float | int | None = None,
  proposals: Float[np.ndarray, 'n 2'] | None = None,
  scores: Float[np.ndarray, ' n'] | None = None,
  top: int = 20,
) -> Timeline:
  """Draws the tracks that are given, one above the other, in seconds.

  Args:
    title: usually the video's id.
    duration_sec: length of the time axis, > 0.
    true_segments: ground truth, `[g, 2]` seconds; None leaves the track out.
    ignore: spans that nobody looked at, `[k, 2]`: hatched, behind the truth.
    labels: a name for each true segment, written where it fits.
    probabilities: stage posterior, `[t, 6]`; None leaves the track out.
    feature_fps: snippets per second; needed with `probabilities`.
    proposals: `[n, 2]` seconds, best first; None leaves the track out.
    scores: of the proposals, `[n]`.
    top: how many proposals to draw.
  Returns:
    a figure; save it with `save`, or let a notebook show it.
  Raises:
    ValueError: if the duration is not positive, nothing is given to draw, or
      `feature_fps` is missing beside `probabilities`.
  """
  if not duration_sec > 0:
    raise ValueError(f'duration_sec must be > 0, got {duration_sec}')
  if probabilities is not None and not feature_fps:
    raise ValueError('probabilities need feature_fps (snippets per second)')
  tracks = []
  if true_segments is not None:
    rows = lanes(true_segments)
    height = 0.28 * (1 + rows.max(initial=0)) + 0.1
    tracks.append((height, _draw_truth, (true_segments, labels, rows, ignore)))
  if probabilities is not None:
    tracks.append((0.9, _draw_stages, (probabilities, feature_fps)))
  if proposals is not None:
    shown = proposals[:top]
    rows = lanes(shown)
    height = 0.15 * (1 + rows.max(initial=0)) + 0.15
    strength = _strength(scores, len(shown))
    tracks.append((height, _draw_proposals, (shown, strength, rows)))
  if not tracks:
    raise ValueError('nothing to draw: give ground truth, stages or proposals')
  return _stack(title, duration_sec, tracks)


def _strength(
  scores: Float[np.ndarray, ' n'] | None, count: int
) -> Float[np.ndarray, ' k']:
  """Scores of the drawn proposals as 0..1 of the best."""
  if scores is None:
    return np.ones(count)
  return np.clip(scores[:count] / max(scores.max(initial=0.0), 1e-9), 0, 1)


def _stack(title: str, duration_sec: float | int, tracks: list) -> Timeline:
  heights = [height for height, _, _ in tracks]
  total = sum(heights) + 0.12 * (len(tracks) - 1)
  above, below = 0.42, 0.42
  fig = Timeline(figsize=(10, total + above + below))
  # Ids come from users: a $ would otherwise start a formula.
  fig.text(0.01, 1 - 0.26 / (total + above + below), title, fontsize=11,
           color=_INK, weight='bold', parse_math=False, va='center')  # fmt: skip
  axes = fig.subplots(
    len(tracks), 1, sharex=True, squeeze=False, height_ratios=heights
  )[:, 0]
  fig.subplots_adjust(
    left=0.1,
    right=0.985,
    top=1 - above / (total + above + below),
    bottom=below / (total + above + below),
    hspace=0.12 * len(tracks) / total,
  )
  for axis, (_, draw, arguments) in zip(axes, tracks):
    axis.set_yticks([])
    for side in axis.spines.values():
      side.set_visible(False)
    axis.tick_params(axis='x', length=0, labelbottom=False)
    axis.set_xlim(0, duration_sec)
    draw(axis, *arguments)
  last = axes[-1]
  last.spines['bottom'].set_visible(True)
  last.spines['bottom'].set_color(_RULE)
  last.tick_params(
    axis='x', length=3, labelbottom=True, labelsize=8, colors=_MUTED
  )
  last.xaxis.set_major_formatter(
    matplotlib.ticker.FuncFormatter(lambda value, _: clock(value))
  )
  steps = [1, 1.5, 2, 3, 6, 10]
  last.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(10, steps=steps))
  return fig


def _name(axis: object, text: str) -> None:
  axis.set_ylabel(
    text, rotation=0, ha='right', va='center', fontsize=8.5, color=_MUTED
  )


def _bars(axis, spans, rows, height, **style) -> None:
  axis.barh(rows, spans[:, 1] - spans[:, 0], height, left=spans[:, 0], **style)
  axis.set_ylim(rows.max(initial=0) + 0.6, -0.6)


def _draw_truth(
  axis: object,
  spans: Float[np.ndarray, 'g 2'],
  labels: tuple[str, ...],
  rows: Int[np.ndarray, ' g'],
  ignore: Float[np.ndarray, 'k 2'] | None = None,
) -> None:
  _name(axis, 'Ground truth')
  for start, end in () if ignore is None else ignore:
    axis.axvspan(
      start, end, facecolor='none', edgecolor=_HATCH, hatch='////', linewidth=0
    )
  _bars(axis, spans, rows, 0.78, color=_TRUTH, edgecolor='white', linewidth=0.6)
  # About 130 characters of this size fit across the page.
  room = (axis.get_xlim()[1] - axis.get_xlim()[0]) / 130
  for span, label, row in zip(spans, labels, rows):
    if (span[1] - span[0]) > room * (len(label) + 2):
      axis.text(
        span.mean(), row, label, ha='center', va='center', fontsize=7,
        color='white', parse_math=False,
      )  # fmt: skip


def _draw_stages(
  axis: object,
  probabilities: Float[np.ndarray, 't s'],
  feature_fps: float | int,
) -> None:
  _name(axis, 'Stages')
  # Each snippet is a step of its own width: repeat it at both its edges.
  edges = np.repeat(np.arange(len(probabilities) + 1), 2)[1:-1] / feature_fps
  values = np.repeat(probabilities, 2, axis=0).astype(np.float64).T
  # Background on top: the action then rises from the base line.
  order = [*range(1, len(values)), 0]
  axis.stackplot(
    edges,
    values[order],
    colors=[palette.STAGES[stage] for stage in order],
    labels=[stage_names.NAMES[stage] for stage in order],
    linewidth=0,
  )
  axis.set_ylim(0, 1)
  axis.figure.legend(
    loc='upper right', ncols=6, fontsize=7.5, frameon=False,
    handlelength=0.9, columnspacing=1.2, handletextpad=0.4,
    labelcolor=_MUTED, borderaxespad=0.55,
  )  # fmt: skip


def _draw_proposals(
  axis: object,
  spans: Float[np.ndarray, 'n 2'],
  strength: Float[np.ndarray, ' n'],
  rows: Int[np.ndarray, ' n'],
) -> None:
  _name(axis, f'Top {len(spans)}\nproposals')
  colour = np.array([int(_PROPOSAL[i : i + 2], 16) for i in (1, 3, 5)]) / 255
  rgba = np.column_stack(
    [np.tile(colour, (len(spans), 1)), 0.25 + 0.75 * strength]
  )
  _bars(axis, spans, rows, 0.72, color=rgba)


def save(fig: matplotlib.figure.Figure, path: str | os.PathLike) -> None:
  """Writes a figure as its suffix says (.png, .svg, .pdf), whole or not at all.

  Args:
    fig: from `figure`.
    path: file to write.
  Raises:
    ValueError: on a suffix matplotlib cannot write.
  """
  path = pathlib.Path(path)
  kind = path.suffix.lstrip('.').lower()
  known = fig.canvas.get_supported_filetypes()
  if kind not in known:
    raise ValueError(
      f'{path}: cannot write .{kind} pictures; use one of {sorted(known)}'
    )
  # No date inside, so that the same input gives the same bytes.
  metadata = {'Date': None} if kind == 'svg' else None
  with replacing.path(path) as temporary:
    fig.savefig(temporary, format=kind, dpi=150, metadata=metadata)


def write_folder(
  folder: str | os.PathLike,
  videos: Iterable[object],
  *,
  kind: str = 'png',
  top: int = 20,
) -> int:
  """Writes one picture a video, `<id>.<kind>`.

  Args:
    folder: made where it is missing.
    videos: `report_page.Entry`s, or anything with their attributes.
    kind: 'png', 'svg' or 'pdf'.
    top: how many proposals each picture shows.
  Returns:
    how many were written.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  count = 0
  for video in videos:
    drawn = figure(
      video.video_id,
      video.duration_sec,
      true_segments=video.segments_sec,
      ignore=video.ignore,
      labels=video.labels,
      probabilities=video.probabilities,
      feature_fps=video.feature_fps,
      proposals=video.proposals.segments,
      scores=video.proposals.scores,
      top=top,
    )
    save(drawn, folder / f'{video.video_id}.{kind}')
    count += 1
  return count
