"""Progress of long work: a bar in a terminal, else a line now and then."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import tqdm

# Seconds between lines where standard error is a file or a pipe.
_EVERY_SEC = 30.0
_LINE = (
  '{desc}: {percentage:3.0f}%, {n_fmt} of {total_fmt} {unit} '
  '[{elapsed}<{remaining}, {rate_fmt}{postfix}]'
)


def bar(*args: Any, quiet: bool = False, **options: Any) -> tqdm.tqdm:
  """A `tqdm.tqdm` that suits where standard error goes.

  In a terminal the bar; in a log file a line each half minute, so that one can
  see that the work goes on and how long it will take; nothing if `quiet`.

  Args:
    *args: of `tqdm.tqdm`.
    quiet: show nothing.
    **options: of `tqdm.tqdm`; `desc`, `unit` and `total` shape the line.
  """
  if not quiet and not sys.stderr.isatty():
    options |= {
      'file': _Lines(),
      'bar_format': options.get('bar_format', _LINE).replace('|{bar}|', ','),
      'delay': _EVERY_SEC,
      'mininterval': _EVERY_SEC,
      'maxinterval': 2 * _EVERY_SEC,
      'dynamic_ncols': False,
      'ncols': 160,
    }
  return tqdm.tqdm(*args, disable=quiet, **options)


class StepBar:
  """Training steps: epoch, loss, speed and time left.

  Args:
    name: of the phase.
    start: steps done before.
    total: steps in all.
    per_epoch: steps an epoch.
    rate: step -> learning rate.
    quiet: show nothing.
  """

  def __init__(
    self,
    name: str,
    start: int,
    total: int,
    per_epoch: int,
    rate: Callable[[int], Any],
    quiet: bool,
  ):
    self._per_epoch = per_epoch
    self.rate = rate
    self._bar = bar(
      total=total, initial=start, desc=name, unit='step', quiet=quiet,
      mininterval=0.5, dynamic_ncols=True,
    )  # fmt: skip

  def epoch(self, done: int) -> float:
    """Epochs that so many steps are."""
    return done / self._per_epoch

  def update(self, step: int, values: Mapping[str, Any]) -> None:
    """One step further; `values` has the `loss` of step `step`."""
    self._bar.set_postfix(
      epoch=f'{self.epoch(step + 1):.2f}', loss=f'{values["loss"]:.4f}',
      refresh=False,
    )  # fmt: skip
    self._bar.update()

  def close(self) -> None:
    """Ends the bar."""
    self._bar.close()


class _Lines:
  """What a bar draws over itself, line by line."""

  def __init__(self):
    self._count = None

  def write(self, text):
    text = text.strip()
    # A bar draws itself once more when it is closed.
    count = text.partition('[')[0]
    if text and count != self._count:
      print(text, file=sys.stderr)
      self._count = count

  def flush(self):
    sys.stderr.flush()


class VideoBar:
  """Seconds of video, which also move while one long video is worked on.

  Args:
    seconds: of each video.
    name: of the work.
    quiet: show nothing.
  """

  def __init__(self, seconds: dict[str, float], name: str, quiet: bool):
    self._seconds = seconds
    self._reached = dict.fromkeys(seconds, 0.0)
    self._bar = bar(
      total=round(sum(seconds.values())), unit='s of video', unit_scale=True,
      desc=name, quiet=quiet,
    )  # fmt: skip

  def reached(self, video_id: str, second: float | int) -> None:
    """Moves to a second of a video; what was reached before stays."""
    second = min(second, self._seconds[video_id])
    self._bar.update(max(0.0, second - self._reached[video_id]))
    self._reached[video_id] = max(second, self._reached[video_id])
    elapsed = self._bar.format_dict['elapsed']
    if elapsed:
      speed = self._bar.n / elapsed
      self._bar.set_postfix_str(f'{speed:.1f}x real time', refresh=False)

  def done(self, video_id: str) -> None:
    """A video is done."""
    self.reached(video_id, self._seconds[video_id])

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self._bar.close()
