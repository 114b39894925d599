"""Everything the report shows, as one JSON-ready dictionary."""

import collections
import dataclasses
import functools
import os
import warnings
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float64

from cmsn_jax import segments, stage_names
from cmsn_jax.annotations import activitynet as annotations_lib
from cmsn_jax.evaluation import diagnostics, metrics
from cmsn_jax.files import proposal_files, stage_files
from cmsn_jax.report import judged, packing, palette
from cmsn_jax.stages import targets
from cmsn_jax.suppression import calibration

_CURVE_POINTS = 240


class ReportWarning(UserWarning):
  """Something that was given cannot be shown."""


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
  """One video of the report.

  Attributes:
    video_id: any text.
    duration_sec: length of its time axis.
    segments_sec: ground truth, `[g, 2]`; None where there is none.
    labels: a name for each of them.
    ignore: spans that nobody looked at, `[k, 2]`.
    proposals: all of them, best first.
    probabilities: stage posterior, `[t, 6]`; None where there is none.
    feature_fps: snippets per second of `probabilities`.
    url: of the video file, relative to the page; None for none.
    frames: (time in seconds, image address) of a strip; may be empty.
    other: proposals of another run to compare with, best first; None for none.
  """

  video_id: str
  duration_sec: float | int
  proposals: proposal_files.Proposals
  segments_sec: Float64[np.ndarray, 'g 2'] | None = None
  ignore: Float64[np.ndarray, 'k 2'] = dataclasses.field(
    default_factory=segments.empty
  )
  labels: tuple[str, ...] = ()
  probabilities: Float[np.ndarray, 't s'] | None = None
  feature_fps: float | int | None = None
  url: str | None = None
  frames: tuple[tuple[float, str], ...] = ()
  other: proposal_files.Proposals | None = None


def entries(
  proposals: Mapping[str, proposal_files.Proposals],
  truth: Mapping[str, annotations_lib.Video] | None = None,
  stages: str | os.PathLike | None = None,
  other: Mapping[str, proposal_files.Proposals] | None = None,
) -> list[Entry]:
  """One entry a video: those of `truth`, or those that have proposals.

  Args:
    proposals: by video id.
    truth: ground truth by video id; then exactly these videos are shown.
    stages: folder of `<id>.npz` with stage probabilities.
    other: proposals of another run, to compare with.
  Returns:
    entries in the order of `truth`, or of the proposals.
  Raises:
    ValueError: if no video is left, no stage file fits or one is malformed.
  """
  ids = list(truth if truth is not None else {**proposals, **(other or {})})
  posteriors = {} if stages is None else stage_files.read_some(stages, ids)
  others = set(proposals) - set(ids)
  if others:
    warnings.warn(
      f'proposals of {len(others)} videos, such as {min(others)!r}, are left '
      'out: they are not among the annotations that were chosen',
      ReportWarning,
      stacklevel=2,
    )
  none = proposal_files.Proposals(segments.empty(), np.zeros(0))
  found = []
  for video_id in ids:
    video = None if truth is None else truth[video_id].counted()
    given = proposals.get(video_id, none)
    probabilities, rate = posteriors.get(video_id, (None, None))
    if video is not None:
      duration = video.duration_sec
    else:
      duration = float(given.segments.max(initial=0.0))
      if other is not None and video_id in other:
        duration = max(duration, other[video_id].segments.max(initial=0.0))
      if probabilities is not None:
        duration = max(duration, len(probabilities) / rate)
    found.append(
      Entry(
        video_id=video_id,
        duration_sec=max(float(duration), 0.1),
        proposals=given,
        segments_sec=None if video is None else video.segments,
        labels=() if video is None else video.labels,
        ignore=segments.empty() if video is None else video.unknown,
        probabilities=probabilities,
        feature_fps=rate,
        other=None if other is None else other.get(video_id, none),
      )
    )
  if not found:
    raise ValueError('no video to report on: the proposals are empty')
  return found


def is_thumos14(ids: list[str]) -> bool:
  """Whether most videos are named as those of THUMOS14's test set."""
  return sum(name.startswith('video_test_') for name in ids) > len(ids) / 2


def page(
  videos: list[Entry],
  *,
  protocol: str | None = None,
  max_proposals: int = 200,
  max_snippets: int = 20_000,
  diagnostic_top: int = 100,
  ans: tuple[int, ...] = (10, 20, 50, 100, 200),
  metric_fps: float | int = 30.0,
  names: tuple[str, str] = ('A', 'B'),
) -> dict[str, object]:
  """Numbers and packed arrays of the whole report.

  Args:
    videos: what to show.
    protocol: of the headline figures, one of `metrics.PROTOCOLS`; None:
      'thumos' for THUMOS14's own videos, 'top_k' for any others.
    max_proposals: a video's best that the page holds; AR@AN counts all.
    max_snippets: longer stage sequences are averaged down to at most this.
    diagnostic_top: a video's best that count for recall by label and duration,
      for the worst misses and for the distribution of scores.
    ans: the AR@AN of the table.
    metric_fps: frame rate of the `thumos` protocol's frame spans.
    names: of the run, and of the other one where there is one.
  Returns:
    a dictionary of lists, texts and numbers.
  Raises:
    ValueError: on an unknown protocol or limits below 1.
  """
  ids = [video.video_id for video in videos]
  protocol = protocol or ('thumos' if is_thumos14(ids) else 'top_k')
  if protocol not in metrics.PROTOCOLS:
    raise ValueError(
      f'protocol must be one of {metrics.PROTOCOLS}, got {protocol!r}'
    )
  if min(max_proposals, max_snippets, diagnostic_top) < 1:
    raise ValueError('max_proposals, max_snippets and diagnostic_top: >= 1')
  result = _facts(videos) | {
    'protocol': protocol,
    'max_proposals': max_proposals,
    'diagnostic_top': diagnostic_top,
    'names': list(names),
    'averaged_stages': False,
  }
  labels, has_truth = result['labels'], result['has_truth']
  recall = functools.partial(
    _recall, protocol=protocol, ans=ans, metric_fps=metric_fps
  )
  if has_truth:
    result |= recall(videos)
    result['operating'] = judged.operating(videos, labels)
    result['detection'] = judged.average_precision(videos, labels)
  if any(video.other is not None for video in videos):
    result['compare'] = {}
    if has_truth:
      result['compare'] = recall([_swapped(video) for video in videos])
  result |= _diagnostics(videos, has_truth, diagnostic_top)
  result |= _confusion(videos)
  index = {name: number for number, name in enumerate(labels)}
  result['videos'] = [
    packing.video(video, index, result, max_proposals, max_snippets)
    for video in videos
  ]
  return result


def _facts(videos: list[Entry]) -> dict[str, object]:
  """Counts, names and ranges."""
  labels = _labels(videos)
  edges = diagnostics.score_edges(_all_scores(videos), 1)
  numbers = [len(video.proposals.scores) for video in videos]
  return {
    'has_truth': any(
      video.segments_sec is not None and len(video.segments_sec)
      for video in videos
    ),
    'labels': labels,
    'colours': [palette.of_label(k) for k in range(len(labels))],
    'labelled': any(video.proposals.labels for video in videos),
    'stages': list(stage_names.NAMES),
    'score_range': [float(edges[0]), float(edges[-1])],
    'num_proposals': sum(numbers),
    'most_proposals': max(numbers),
    'num_truth': sum(len(video.labels) for video in videos),
  }


def _labels(videos: list[Entry]) -> list[str]:
  """All labels, those of most true segments first, then of most proposals."""
  true, proposed = collections.Counter(), collections.Counter()
  for video in videos:
    true.update(video.labels)
    for found in (video.proposals, video.other):
      if found is not None:
        proposed.update(found.labels or ())
  return sorted({*true, *proposed}, key=lambda x: (-true[x], -proposed[x], x))


def _all_scores(videos: list[Entry]) -> Float64[np.ndarray, ' n']:
  both = [video.proposals for video in videos]
  both += [video.other for video in videos if video.other is not None]
  return np.concatenate([found.scores for found in both])


def _swapped(video: Entry) -> Entry:
  none = proposal_files.Proposals(segments.empty(), np.zeros(0))
  return dataclasses.replace(video, proposals=video.other or none)


def _recall(
  videos: list[Entry],
  protocol: str,
  ans: tuple[int, ...],
  metric_fps: float | int,
) -> dict[str, object]:
  given = {
    video.video_id: (video.proposals.segments, video.proposals.scores)
    for video in videos
    if len(video.proposals.scores)
  }
  truth = {
    video.video_id: video.segments_sec
    for video in videos
    if video.segments_sec is not None
  }
  rows, curves = [], []
  for name in metrics.PROTOCOLS:
    found = metrics.evaluate(
      given, truth, ignore={v.video_id: v.ignore for v in videos},
      protocol=name, ans=ans, fps=metric_fps,
    )  # fmt: skip
    rows.append(found)
    curves.append(
      {
        'protocol': name,
        'an': _curve_points(found.curve_an, found.curve_ar),
        'tiou': [
          [tiou, recall]
          for tiou, recall in found.recall_at_tiou.items()
          if recall is not None
        ],
      }
    )
  return {'metrics': rows, 'curves': curves}


def _curve_points(
  ans: Float[np.ndarray, ' n'], recalls: Float[np.ndarray, ' n']
) -> list[list[float]]:
  """At most some 240 points of a curve from (0, 0) to its end."""
  if not len(ans):
    return []
  keep = np.unique(np.linspace(0, len(ans) - 1, _CURVE_POINTS).astype(int))
  return [[0.0, 0.0]] + [
    [round(float(ans[k]), 3), round(float(recalls[k]), 5)] for k in keep
  ]


def _diagnostics(
  videos: list[Entry], has_truth: bool, top: int
) -> dict[str, object]:
  truth = [
    segments.empty() if video.segments_sec is None else video.segments_sec
    for video in videos
  ]
  judged = [_judged(video) for video in videos]
  instances, tious = diagnostics.match(
    truth,
    [video.labels for video in videos],
    [found.segments for found in judged],
    top=top,
  )
  # NMS leaves thousands of scores near 0, which would hide all others.
  scores = np.concatenate([found.scores[:top] for found in judged])
  tiou = np.concatenate([values[:top] for values in tious])
  edges, hit, other = diagnostics.score_histogram(
    scores, tiou >= diagnostics.HIT
  )
  result = {}
  if len(scores):
    result['histogram'] = {
      'edges': edges.round(6).tolist(),
      'hit': hit.tolist(),
      'other': other.tolist(),
    }
  if has_truth:
    gains = np.concatenate(
      [
        calibration.gains(found.segments[:top], own)
        for found, own in zip(judged, truth)
      ]
    )
    first = np.searchsorted(instances.video, np.arange(len(videos)))
    result |= {
      'calibration': diagnostics.calibration(scores, tiou, gains),
      'by_label': [
        dataclasses.asdict(group)
        for group in diagnostics.recall_by_label(instances)
      ],
      'by_duration': [
        dataclasses.asdict(group)
        for group in diagnostics.recall_by_duration(instances)
      ],
      'misses': [
        {
          'video': int(instances.video[k]),
          'truth': int(k - first[instances.video[k]]),
          'tiou': round(float(instances.tiou[k]), 4),
        }
        for k in diagnostics.worst_misses(instances)
      ],
    }
  return result


def _judged(video: Entry) -> proposal_files.Proposals:
  """The proposals that are right or wrong: not mostly in ignored spans."""
  found = video.proposals
  keep = ~segments.mostly_within(found.segments, video.ignore)
  return proposal_files.Proposals(found.segments[keep], found.scores[keep])


def _confusion(videos: list[Entry]) -> dict[str, object]:
  counts = np.zeros((stage_names.COUNT, stage_names.COUNT), np.int64)
  for video in videos:
    if video.probabilities is None or video.segments_sec is None:
      continue
    true = targets.stage_labels(
      video.segments_sec, len(video.probabilities), video.feature_fps
    )
    known = ~targets.within(video.ignore * video.feature_fps, len(true))
    counts += diagnostics.stage_confusion(
      true[known], video.probabilities.argmax(axis=1)[known]
    )
  return {'confusion': counts.tolist()} if counts.any() else {}
