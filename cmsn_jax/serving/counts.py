"""Counters of a service, in the text format that Prometheus reads."""

import bisect
import threading
from collections.abc import Mapping

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Counts:
  """What a service has done; all methods may be called from any thread."""

  def __init__(self):
    self._lock = threading.Lock()
    self._requests: dict[tuple[str, int], int] = {}
    self._buckets = [0] * (len(_SECONDS) + 1)
    self._seconds, self._passes, self._videos = 0.0, 0, 0

  def request(self, path: str, status: int) -> None:
    """One request was answered."""
    with self._lock:
      key = path, status
      self._requests[key] = self._requests.get(key, 0) + 1

  def proposed(self, seconds: float) -> None:
    """Proposals of one video were made, `seconds` after it was taken in."""
    with self._lock:
      self._buckets[bisect.bisect_left(_SECONDS, seconds)] += 1
      self._seconds += seconds
      self._videos += 1

  def passed(self) -> None:
    """The model made one pass, over one request or several."""
    with self._lock:
      self._passes += 1

  def answered(self, path: str, status: int = 200) -> int:
    """Requests to an address that were answered with a status."""
    with self._lock:
      return self._requests.get((path, status), 0)

  def text(self, gauges: Mapping[str, tuple[str, float | int]]) -> str:
    """All of them.

    Args:
      gauges: name -> (what it is, its value now), beside the counters.
    """
    with self._lock:
      lines = _head('requests_total', 'Requests answered.', 'counter')
      lines += [
        f'cmsn_requests_total{{path="{path}",status="{status}"}} {count}'
        for (path, status), count in sorted(self._requests.items())
      ]
      lines += _head(
        'proposal_seconds', 'From taken in to proposals made.', 'histogram'
      )
      total = 0
      for bound, count in zip((*_SECONDS, '+Inf'), self._buckets):
        total += count
        lines.append(f'cmsn_proposal_seconds_bucket{{le="{bound}"}} {total}')
      lines += [
        f'cmsn_proposal_seconds_sum {self._seconds}',
        f'cmsn_proposal_seconds_count {self._videos}',
      ]
      lines += _head('passes_total', 'Passes of the model.', 'counter')
      lines.append(f'cmsn_passes_total {self._passes}')
    for name, (what, value) in gauges.items():
      lines += [*_head(name, what, 'gauge'), f'cmsn_{name} {value}']
    return '\n'.join(lines) + '\n'


def _head(name, what, kind):
  return [f'# HELP cmsn_{name} {what}', f'# TYPE cmsn_{name} {kind}']
