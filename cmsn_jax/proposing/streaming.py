"""Proposals while a recording still runs.

    stream = model.stream(feature_fps=5.0)
    for rows in arriving:                      # [t, d], any number of them
      segments, scores = stream.push(rows)     # those that became certain
    segments, scores = stream.flush()          # the rest

Every few snippets (`Stream.step_sec`) the newest ones, a few windows of the
training's length, are looked at as one video, in the same way as a whole
recording would be. Of its proposals those are told whose ends lie in the stretch that
has become old enough since the last look, or a little before it, and that add to
what was told (`told.Told`): a proposal is told again only where its score has more
than doubled. What differs from the whole recording: whoever decides has seen a
latency's worth of what follows a proposal and some windows of what went before it,
and a better copy that ends later cannot take a proposal back.
"""

import fractions
import math

import numpy as np
from jaxtyping import Float

from cmsn_jax.data import sources
from cmsn_jax.files import feature_files, proposal_files
from cmsn_jax.proposing import inputs
from cmsn_jax.proposing import told as told_lib
from cmsn_jax.runs import trained as trained_lib

_NAME = 'the stream'
# Looks a latency: a proposal is told after between 5/8 of it and 7/8, or, where
# its end moved over the line in between, in the look after.
_LOOKS = 4
# Windows of the training's length that a look sees, and median durations at
# least: where windows are short, less costs recall.
_WINDOWS, _DURATIONS = 2, 24
# Where two spans of rows meet, a row more is needed to interpolate.
_MARGIN_ROWS = 1


class Stream:
  """One running recording; made by `Model.stream`.

  Args:
    trained: the run, on features.
    feature_fps: rows a second that are pushed; None: as the run was trained on.
    latency_sec: how long after its end a proposal is told at the latest, not
      counting the time that computing takes; None: the median duration of the
      training instances.
    context_sec: how much a look sees; None: two training windows, and 24 median
      durations at least.

  Attributes:
    latency_sec: see above; at least two snippets, and two rows more of another
      rate.
    step_sec: from one look to the next.
    context_sec: how much a look sees.
    feature_fps: rows a second that are pushed.

  Raises:
    ValueError: on a run whose input is video or was stretched, another rate
      than the run can take, or a latency that has to be given.
  """

  def __init__(
    self,
    trained: trained_lib.Trained,
    feature_fps: float | None = None,
    latency_sec: float | None = None,
    context_sec: float | None = None,
  ):
    self._predictor = trained.predictor
    config, about = trained.config, trained.data
    _check(config, about)
    _positive('feature_fps', feature_fps)
    _positive('latency_sec (--latency)', latency_sec)
    _positive('context_sec', context_sec)
    self._tail = _Tail(about['file_dim'])
    self._rate = about['file_fps'] if feature_fps is None else feature_fps
    self._source = inputs.feature_source(trained, self._tail, feature_fps)
    self._pool = about['pool']
    self._ratio = self._rate / about['file_fps']
    if abs(self._ratio - 1) < 1e-3:
      self._ratio = 1.0
    self._shift = self._source.offset_sec * about['file_fps']
    fps = self._source.feature_fps
    if latency_sec is None:
      latency_sec = config.template.typical_duration / fps
    if not latency_sec:
      raise ValueError(
        'latency_sec must be given (--latency): this run does not know the '
        'median duration of its instances, only the chain template does'
      )
    # Of another rate, a snippet is there when the rows around it are.
    late = 0
    if self._ratio != 1:
      late = math.ceil((1 + _MARGIN_ROWS) * fps / self._rate)
    latency = max(2 + late, round(latency_sec * fps))
    self._step = max(1, (latency - late) // _LOOKS)
    back = max(1, self._step // 2)
    self._ahead = latency - late - self._step - back
    if context_sec is None:
      self._context = max(
        _WINDOWS * config.windows.length,
        round(_DURATIONS * config.template.typical_duration),
      )
    else:
      self._context = max(1, round(context_sec * fps))
    self._context = max(self._context, 2 * latency)
    # Looks begin where snippets that are played more slowly fall on the same
    # instants as in the look before.
    slow = config.template.slow_stages, config.template.slow_features
    slow = (fractions.Fraction(x or 1).limit_denominator(8) for x in slow)
    self._multiple = math.lcm(*(x.denominator for x in slow))
    self.latency_sec, self.step_sec = latency / fps, self._step / fps
    self.context_sec, self.feature_fps = self._context / fps, self._rate
    self._kept = np.zeros((0, *self._source.snippet_shape), np.float32)
    self._first = 0  # the snippet that `_kept` begins with
    self._looked = 0  # snippets at the last look
    self._told = told_lib.Told(back / fps, self.context_sec)
    self._ended = False

  @property
  def now_sec(self) -> float:
    """Seconds of the recording that were pushed."""
    return (self._tail.end + self._shift) / self._rate

  def push(self, rows: Float[np.ndarray, 't d']) -> proposal_files.Proposals:
    """Takes rows; returns the proposals that they make certain.

    However the rows are split over calls, the same proposals are told.

    Args:
      rows: the next ones, as extracted, of the recording's own rate.

    Returns:
      `segments` [n, 2] in seconds from the first row and `scores` [n], best
      first; each proposal once, but where its score has more than doubled.

    Raises:
      ValueError: on rows of another width or not finite, or after `flush`.
    """
    if self._ended:
      raise ValueError('the stream has ended; open another one')
    found = []
    # Few at a time: memory does not grow with what is pushed.
    size = max(1, int(self._step * self._pool * self._ratio))
    rows = self._tail.checked(rows)
    for start in range(0, len(rows), size):
      self._tail.append(rows[start : start + size])
      self._read(self._whole())
      while self._end >= self._looked + self._step:
        found.append(self._look(self._looked + self._step))
    return told_lib.joined(found)

  def flush(self) -> proposal_files.Proposals:
    """Ends the recording; returns all that is left to be told."""
    if self._ended:
      raise ValueError('the stream has ended already')
    found = []
    if self._tail.end:
      self._read(self._source.num_snippets(_NAME))
    while self._end >= self._looked + self._step:
      found.append(self._look(self._looked + self._step))
    self._ended = True
    if self._end:
      found.append(self._look(self._end))
    return told_lib.joined(found)

  @property
  def _end(self):
    return self._first + len(self._kept)

  def _whole(self):
    """Snippets whose rows are all there."""
    rows = self._tail.end
    if self._ratio != 1:
      rows = (rows - _MARGIN_ROWS + self._shift) / self._ratio - self._shift
    return max(0, int(rows) // self._pool)

  def _read(self, stop):
    """Snippets up to `stop` from the rows, which are then let go."""
    if stop <= self._end:
      return
    more = self._source.read(_NAME, self._end, stop)
    self._kept = np.concatenate([self._kept, more])
    rows = stop * self._pool
    if self._ratio != 1:
      rows = (rows + self._shift) * self._ratio - self._shift
    self._tail.forget(int(rows) - 2 * _MARGIN_ROWS)

  def _look(self, now):
    """Proposals of the newest snippets that are old enough and not told."""
    first = max(self._first, self._aligned(now - self._context))
    view = _View(
      self._source, self._kept[first - self._first : now - self._first], first
    )
    ((_, seen),) = self._predictor.propose(view, [_NAME])
    self._looked = now
    # What is older than all that the next look will see.
    keep = self._aligned(now + self._step - self._context)
    keep = min(keep, self._end)
    if keep > self._first:
      self._kept = self._kept[keep - self._first :].copy()
      self._first = keep
    fps, offset = self._source.feature_fps, self._source.offset_sec
    line = np.inf if self._ended else (now - self._ahead) / fps + offset
    return self._told.fresh(seen.proposals, line)

  def _aligned(self, snippet):
    return max(0, -(-snippet // self._multiple) * self._multiple)


def _positive(name, value):
  if value is not None and not (value > 0 and math.isfinite(value)):
    raise ValueError(f'{name} must be above 0 and finite, got {value}')


def _check(config, about):
  if config.data.input != 'features':
    raise ValueError(
      'a stream takes rows of features, but this run was trained on video; train '
      'one on features (launch.extract_features)'
    )
  if about.get('rescaled'):
    raise ValueError(
      'every recording of this run was stretched to one number of rows, which '
      'a recording that still runs cannot be'
    )


class _Tail(feature_files.FeatureStore):
  """The newest rows of a stream, as a folder of one video."""

  def __init__(self, dim):
    # As an open folder has it, without any file.
    self.path, self.ids, self.sidecar = _NAME, (_NAME,), None
    self._rows, self._first = np.zeros((0, dim), np.float32), 0

  @property
  def dim(self):
    return self._rows.shape[1]

  def prefer_dim(self, dim):
    del dim

  def __str__(self):
    return self.path

  @property
  def end(self):
    return self._first + len(self._rows)

  def checked(self, rows):
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.shape[1] != self.dim:
      raise ValueError(
        f'rows must have shape [t, {self.dim}], as the run was trained on, got '
        f'{rows.shape}'
      )
    rows = rows.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
      raise ValueError(
        f'row {self.end + bad[0]} of the stream has NaN or infinity; repeat the '
        'row before it, or interpolate'
      )
    return rows

  def append(self, rows):
    self._rows = np.concatenate([self._rows, rows])

  def forget(self, before):
    before = min(max(before, self._first), self.end)
    self._rows, self._first = self._rows[before - self._first :].copy(), before

  def num_snippets(self, video_id):
    del video_id
    return self.end

  def read(self, video_id, start=0, stop=None):
    del video_id
    stop = self.end if stop is None else stop
    return self._rows[max(0, start - self._first) : stop - self._first]


class _View:
  """Snippets from a point in time on, as a source of one video."""

  def __init__(self, source, snippets, first):
    self.feature_fps = source.feature_fps
    self.snippet_shape = source.snippet_shape
    self._snippets = snippets
    self._clock = sources.Clock(source.offset_sec + first / source.feature_fps)

  def num_snippets(self, video_id):
    del video_id
    return len(self._snippets)

  def clock(self, video_id):
    del video_id
    return self._clock

  def read(self, video_id, start, stop):
    del video_id
    return self._snippets[start:stop]
