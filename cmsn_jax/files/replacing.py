"""Files that take another's place at once: a reader never sees half a file."""

import contextlib
import os
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
    yield temporary
    os.replace(temporary, target)
  except BaseException as error:
    with contextlib.suppress(OSError):
      os.remove(temporary)
    if isinstance(error, OSError) and error.filename == temporary:
      # The file that was asked for, not the one that takes its place.
      raise OSError(error.errno, error.strerror, target) from error
    raise


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
