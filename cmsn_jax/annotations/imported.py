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
  if problems:
    raise checks.AnnotationError(
      f'{source}: {len(problems)} problem{"s"[: len(problems) > 1]} found',
      tuple(problems),
    )


def warn(message: str) -> None:
  warnings.warn(message, checks.AnnotationWarning, stacklevel=4)


def entry(subset: str, length: lengths.Length, items: list) -> dict:
  entry = {'subset': subset, 'duration': length.duration_sec}
  if length.fps:
    entry['fps'] = length.fps
  return {**entry, 'annotations': items}


def some(names: list[str]) -> str:
  names = list(dict.fromkeys(names))
  return ', '.join(names[:5]) + (', …' if len(names) > 5 else '')
