"""Labels of frames, one after the other, to instances: runs of one label."""

from collections.abc import Iterator, Sequence

# Labels that say that nothing happens.
BACKGROUND = (
  '', 'background', 'bg', 'sil', 'silence', 'none', 'nothing', 'null', 'na',
  'nan', 'no_behavior', 'no behavior', 'no_action', '<background>',
)  # fmt: skip


def is_background(label: str, stated: Sequence[str] = ()) -> bool:
  """Whether a label means that nothing happens; `stated` adds to those."""
  return label.strip().lower() in BACKGROUND or label in stated


def runs(
  labels: Sequence[str], places: Sequence[float | int], step: float | int
) -> Iterator[tuple[int, int, str]]:
  """Runs of equal labels without a gap.

  Args:
    labels: of each frame.
    places: frame numbers or times, increasing.
    step: from one frame to the next.
  Yields:
    (first, last, label) as indices, both inclusive.
  """
  first = 0
  for k in range(1, len(labels) + 1):
    if (
      k == len(labels)
      or labels[k] != labels[first]
      or places[k] - places[k - 1] > 1.5 * step
    ):
      yield first, k - 1, labels[first]
      first = k
