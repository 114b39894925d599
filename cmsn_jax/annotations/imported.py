"""What the importers of other annotation formats share."""

import dataclasses
import warnings

from cmsn_jax.annotations import checks, lengths


@dataclasses.dataclass(frozen=True)
class Instance:
  """An instance and the place that it was read from."""

  start_sec: float
  end_sec: float
  label: str
  where: str


def raise_all(source: str, problems: list[str]) -> None:
  """Says all that is wrong with a source at once.

  Raises:
    AnnotationError: if there are any problems.
  """
  if problems:
    raise checks.AnnotationError(
      f'{source}: {len(problems)} problem{"s"[: len(problems) > 1]} found',
      tuple(problems),
    )


def warn(message: str) -> None:
  """Warns the caller of a reader."""
  warnings.warn(message, checks.AnnotationWarning, stacklevel=4)


def entry(subset: str, length: lengths.Length, items: list) -> dict:
  """A video's entry as ActivityNet has it; `items` are its instances."""
  entry = {'subset': subset, 'duration': length.duration_sec}
  if length.fps:
    entry['fps'] = length.fps
  return {**entry, 'annotations': items}


def some(names: list[str]) -> str:
  """The first five different names, for a message."""
  names = list(dict.fromkeys(names))
  return ', '.join(names[:5]) + (', …' if len(names) > 5 else '')
