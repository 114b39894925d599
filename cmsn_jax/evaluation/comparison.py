"""What chains reach on the same videos, and what they cost, as one table."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Row:
  """One chain.

  Attributes:
    chain: its name.
    ar_at_an: average recall by number of proposals; None where no video has so
      many.
    parameters: numbers learned.
    train_cpu_sec: CPU seconds of training, compiling and evaluations included.
    propose_cpu_sec_per_hour: CPU seconds to propose for an hour of recording,
      all programs compiled.
    train_peak_bytes: peak of the training process's memory.
    propose_peak_bytes: of the proposing one's.
    num_videos: evaluated.
    num_ground_truth: their instances.
    num_proposals: of them all.
    protocol: of the recall.
    subset: of the annotations; '' the held-out videos of the run.
    average_map: mAP over tIoU .3:.1:.7; None of a chain that names nothing.
  """

  chain: str
  ar_at_an: Mapping[int, float | None]
  parameters: int
  train_cpu_sec: float
  propose_cpu_sec_per_hour: float
  train_peak_bytes: int
  propose_peak_bytes: int
  num_videos: int
  num_ground_truth: int
  num_proposals: int
  protocol: str
  subset: str
  average_map: float | None = None

  def to_json(self) -> dict[str, Any]:
    """As plain values; the numbers of proposals are text."""
    values = dataclasses.asdict(self)
    values['ar_at_an'] = {str(an): ar for an, ar in self.ar_at_an.items()}
    return values

  @classmethod
  def from_json(cls, chain: str, values: Mapping[str, Any]) -> 'Row':
    """What `to_json` wrote, of whatever name the chain had.

    Args:
      chain: its name.
      values: of a file; further keys are left out, and what was not measured
        yet has its default.
    """
    names = {field.name for field in dataclasses.fields(cls)} - {'chain'}
    known = {name: values[name] for name in names & values.keys()}
    known['ar_at_an'] = {int(k): v for k, v in values['ar_at_an'].items()}
    return cls(chain=chain, **known)


def table(rows: Sequence[Row], ans: Sequence[int]) -> str:
  """Markdown: recall, mAP, parameters, times and memory of each chain.

  Args:
    rows: from top to bottom, evaluated alike.
    ans: numbers of proposals.
  """
  heads = (
    'chain', *(f'AR@{an}' for an in ans), 'mAP', 'parameters',
    'training, CPU s', 'proposing, CPU s an hour',
    'peak memory, training / proposing',
  )  # fmt: skip
  lines = [f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
  for row in rows:
    recall = [_recall(row.ar_at_an.get(an)) for an in ans]
    memory = ' / '.join(
      f'{size / 1e9:.2f}'
      for size in (row.train_peak_bytes, row.propose_peak_bytes)
    )
    cells = (
      row.chain, *recall, _recall(row.average_map), f'{row.parameters:,}',
      f'{row.train_cpu_sec:.0f}', f'{row.propose_cpu_sec_per_hour:.1f}',
      f'{memory} GB',
    )  # fmt: skip
    lines.append(f'| {" | ".join(cells)} |')
  if rows:
    first = rows[0]
    where = f'subset {first.subset!r}' if first.subset else 'held-out videos'
    lines += [
      '',
      f'protocol {first.protocol}, {where}: {first.num_videos} videos, '
      f'{first.num_ground_truth} instances',
    ]
  return '\n'.join(lines)


def _recall(value):
  return '-' if value is None else f'{value:.3f}'
