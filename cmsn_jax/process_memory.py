"""How much memory this process takes, and took."""

import pathlib
import resource
import sys


def peak_bytes() -> int:
  """Peak of this process's memory."""
  return _status('VmHWM')


def resident_bytes() -> int:
  """Memory of this process now; where that is not told, its peak."""
  return _status('VmRSS')


def _status(name):
  """A figure of /proc, or the peak."""
  try:
    status = pathlib.Path('/proc/self/status').read_text()
    return 1024 * int(status.partition(f'{name}:')[2].split()[0])
  except (OSError, IndexError):
    # Elsewhere; where there is /proc, it would begin with the parent's peak.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes, but bytes on macOS.
    return peak if sys.platform == 'darwin' else peak * 1024
