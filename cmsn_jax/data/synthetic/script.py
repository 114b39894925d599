"""What happens when in a made-up untrimmed video: actions and distractors.

One script serves two renderers: `synthetic_video` draws it, and
`synthetic_features` writes the feature sequence an extractor might give.
"""

import dataclasses
import os

import numpy as np

from cmsn_jax.annotations import activitynet

LABELS = ('circle', 'shake', 'pump')
# An approach that leads to nothing, an actor that pauses at the place without
# acting, and a burst of motion that nobody approached for.
DISTRACTORS = ('pass', 'pause', 'twitch')
_SHARES = {'training': 0.6, 'validation': 0.2, 'testing': 0.2}


@dataclasses.dataclass(frozen=True)
class Event:
  """One thing that happens.

  Attributes:
    kind: one of `LABELS` or `DISTRACTORS`.
    start_sec: begin of the action itself, after the approach.
    end_sec: its end, before the withdrawal.
    approach_sec: length of the approach that leads up to `start_sec`.
    withdraw_sec: length of the withdrawal that follows `end_sec`.
    speed: of the motion inside; 1 is usual.
  """

  kind: str
  start_sec: float
  end_sec: float
  approach_sec: float
  withdraw_sec: float
  speed: float

  @property
  def is_action(self) -> bool:
    """Whether it is ground truth."""
    return self.kind in LABELS


def write(
  duration_sec: float, rng: np.random.Generator, median_sec: float = 4.0
) -> list[Event]:
  """Events of one video, in order; their insides never overlap.

  Durations are log-normal (median `median_sec`, cut at three eighths and three
  times that). Approach and withdrawal
  take about half an action's length each, as the paper's Ready and Follow do
  (Sec. 3.1). Of neighbours, some begin while the one before still withdraws.
  """
  events, free_from = [], rng.uniform(0.5, 4.0)
  while True:
    action = rng.random() < 0.7
    kind = str(rng.choice(LABELS if action else DISTRACTORS))
    length = median_sec * float(np.clip(rng.lognormal(0, 0.5), 0.375, 3.0))
    if kind == 'twitch':
      length = rng.uniform(0.4, 0.8)
    approach, withdraw = length * rng.uniform(0.4, 0.6, 2)
    start = free_from + approach
    if start + length + withdraw > duration_sec:
      return events
    events.append(
      Event(
        kind, start, start + length, approach, withdraw, rng.uniform(0.8, 1.25)
      )
    )
    pause = rng.uniform(1.0, 6.0) if rng.random() < 0.8 else -0.5 * withdraw
    free_from = start + length + withdraw + pause


def subsets(num_videos: int) -> list[str]:
  """Subset of each video: three fifths training, a fifth each of the others.

  Raises:
    ValueError: fewer than three videos.
  """
  if num_videos < 3:
    raise ValueError(
      f'num_videos must be at least 3, one for each subset, got {num_videos}'
    )
  counts = {
    name: max(1, round(share * num_videos)) for name, share in _SHARES.items()
  }
  counts['training'] = num_videos - counts['validation'] - counts['testing']
  return [name for name, count in counts.items() for _ in range(count)]


def check_duration(duration_sec: float) -> None:
  """Refuses what would make a script (nearly) empty.

  Raises:
    ValueError: below 20 seconds.
  """
  if not np.isfinite(duration_sec) or duration_sec < 20:
    raise ValueError(
      'duration_sec must be at least 20 for an untrimmed video with actions, '
      f'got {duration_sec}'
    )


def write_annotations(
  path: str | os.PathLike,
  scripts: dict[str, tuple[str, float, list[Event]]],
  *,
  fps: float | None = None,
  feature_fps: float | None = None,
):
  """Writes the ground truth of {id: (subset, duration, events)}."""
  videos = {}
  for video_id, (subset, duration_sec, events) in scripts.items():
    actions = [event for event in events if event.is_action]
    segments = [[event.start_sec, event.end_sec] for event in actions]
    videos[video_id] = activitynet.Video(
      video_id=video_id,
      subset=subset,
      duration_sec=duration_sec,
      segments=np.array(segments, np.float64).reshape(-1, 2),
      labels=tuple(event.kind for event in actions),
      fps=fps,
      feature_fps=feature_fps,
    )
  activitynet.write(path, activitynet.Annotations('synthetic', videos))
