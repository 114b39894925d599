"""Files that take another's place at once: a reader never sees half a file."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from typing import IO

PathLike = str | os.PathLike


@contextlib.contextmanager
def path(target: PathLike) -> Iterator[str]:
  """Path of a temporary file that takes `target`'s place if the block succeeds.

  A failure leaves the old file as it was. Missing folders are made. Several
  processes may write the same file at once: the last one's stays.

  Args:
    target: the file to be made.

  Yields:
    a path in `target`'s folder, which the block writes.

  Raises:
    OSError: where nothing can be written there; it names `target`.
  """
  target = os.fspath(target)
  os.makedirs(os.path.dirname(target) or '.', exist_ok=True)
  # In the same folder, since a rename is atomic on one file system only.
  temporary = f'{target}.{os.getpid()}.tmp'
  try:
    with named(target, temporary):
      yield temporary
      os.replace(temporary, target)
  except BaseException:
    with contextlib.suppress(OSError):
      os.remove(temporary)
    raise


@contextlib.contextmanager
def named(target: PathLike, temporary: PathLike = '') -> Iterator[None]:
  """Says of a failed write which file it was, and of a full disk which disk.

  Args:
    target: the file that the block writes.
    temporary: what it is called while it is written.

  Raises:
    OSError: of the block, with `target` in its words.
  """
  target = os.fspath(target)
  try:
    yield
  except OSError as error:
    # numpy writes on without an error number: so many asked for and written.
    short = error.errno is None and 'requested and' in str(error)
    if short or error.errno in (errno.ENOSPC, errno.EDQUOT):
      code = error.errno or errno.ENOSPC
      raise OSError(code, _full(target, code), target) from error
    if error.filename is not None and error.filename == os.fspath(temporary):
      # The file that was asked for, not the one that takes its place.
      raise OSError(error.errno, error.strerror, target) from error
    raise


def _full(target, code) -> str:
  place = os.path.dirname(os.path.abspath(target))
  while not os.path.ismount(place):
    place = os.path.dirname(place)
  free = shutil.disk_usage(place).free
  return (
    f'{os.strerror(code)} ({free / 1e6:.1f} MB are free on the disk at {place}; '
    'make room and start again, what is done is kept)'
  )


@contextlib.contextmanager
def file(
  target: PathLike, mode: str = 'w', *, durable: bool = False
) -> Iterator[IO]:
  """Opens a temporary file that takes `target`'s place if the block succeeds.

  Args:
    target: the file to be made.
    mode: 'w' for UTF-8 text, whose line ends stay as written, or 'wb'.
    durable: the contents are on the disk before the name is, so that not even
      a power failure leaves a whole name with half a file.

  Yields:
    the open file.

  Raises:
    OSError: where nothing can be written there; it names `target`.
  """
  text = {} if 'b' in mode else {'encoding': 'utf-8', 'newline': ''}
  with path(target) as temporary, open(temporary, mode, **text) as opened:
    yield opened
    if durable:
      opened.flush()
      os.fsync(opened.fileno())
