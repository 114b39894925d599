"""Suites 'nms' and 'metrics': host-side numpy against plain Python.

A row is `{suite, work, ours_s, alternative, alternative_s, ratio, note}`.
Times are CPU seconds, medians of interleaved runs, since wall times on shared
machines say little. The plain-Python alternatives are timed on a few videos
and multiplied: videos are independent, and 213 of them take a minute.
"""

import collections
import csv
import math
import pathlib
import statistics
import time
from collections.abc import Callable

import numpy as np

from cmsn_jax import process_memory, segments, stage_names
from cmsn_jax.candidates import runs
from cmsn_jax.evaluation import metrics
from cmsn_jax.stages import targets
from cmsn_jax.suppression import nms

_VIDEOS, _PROPOSALS = 213, 1000
_LARGE = 20_000  # proposals of one video
_CORPUS = 10_000  # videos of 200 proposals


def run_nms(quick: bool = False) -> list[dict]:
  """Rows of Soft-NMS, Greedy-NMS, candidate generation, and growth."""
  corpus = f'{_VIDEOS} x {_PROPOSALS:,}'
  return [
    _of_corpus(
      quick,
      f'Soft-NMS, {corpus}, full length',
      nms.soft_nms_many,
      _plain_soft_nms,
    ),
    # As `propose` calls it.
    _of_corpus(
      quick,
      f'Soft-NMS, {corpus}, one video a call',
      lambda *corpus: [nms.soft_nms(*video) for video in zip(*corpus)],
      _plain_soft_nms,
    ),
    _of_corpus(
      quick,
      f'Greedy-NMS .8, {corpus}',
      nms.greedy_nms_many,
      _plain_greedy_nms,
    ),
    _soft_one_large(quick),
    _generation(quick),
    _chain(quick),
    *_growth(quick),
  ]


def run_metrics(quick: bool = False) -> list[dict]:
  """Rows of AR@AN in the three protocols, and of a large corpus."""
  found, truth = _corpus(_VIDEOS, _PROPOSALS, 16)
  sample = 2 if quick else 8
  rows = []
  for protocol in metrics.PROTOCOLS:
    thresholds = 11 if protocol == 'thumos' else 10
    part = {k: truth[k] for k in list(truth)[:sample]}
    row = _compare(
      'metrics',
      f'AR@AN, {protocol}, {_VIDEOS} x {_PROPOSALS:,} proposals',
      lambda protocol=protocol: metrics.evaluate(
        found, truth, protocol=protocol
      ),
      'a loop over thresholds, videos and percentages',
      lambda part=part, n=thresholds: _loop_recall(found, part, n),
      scale=_VIDEOS / sample,
      quick=quick,
    )
    rows.append(row)
  many = _CORPUS // 10 if quick else _CORPUS
  found, truth = _corpus(many, 200, 2)
  for protocol in metrics.PROTOCOLS:
    seconds = _cpu_seconds(
      lambda protocol=protocol: metrics.evaluate(
        found, truth, protocol=protocol
      )
    )
    work = f'AR@AN, {protocol}, {many:,} x 200 proposals'
    rows.append(_row('metrics', work, seconds, note=_peak_memory()))
  return rows


def run_perfect_labels(thumos14: str | pathlib.Path) -> list[dict]:
  """What the generator can reach: candidates of THUMOS14's true stages.

  Args:
    thumos14: folder with thumos14_test_groundtruth.csv.
  Returns:
    a row with the split of runs and one without; `note` has the recall.
  """
  feature_fps = 25 / 8
  truth, durations = _thumos14_test(pathlib.Path(thumos14))
  rows = []
  for split in (True, False):
    start = time.process_time()
    best, count = [], 0
    for video, true in truth.items():
      num_snippets = int(durations[video] * feature_fps)
      labels = targets.stage_labels(true, num_snippets, feature_fps)
      made = runs.generate(labels, split=split)
      count += len(made.starts)
      spans = segments.snippets_to_sec(made.starts, made.ends, feature_fps)
      best.append(segments.tiou(true, spans).max(axis=1, initial=0.0))
    best = np.concatenate(best)
    recall = (best[:, None] >= segments.TIOU_THRESHOLDS).mean()
    rows.append(
      _row(
        'metrics',
        f'candidates of perfect THUMOS14 labels, runs '
        f'{"split" if split else "not split"}',
        time.process_time() - start,
        note=f'pooled AR {recall:.3f}, {count / len(truth):.0f} a video',
      )
    )
  return rows


def _of_corpus(quick, work, ours, plain):
  spans, scores = _scored(_VIDEOS, _PROPOSALS)
  sample = 1 if quick else 4
  return _compare(
    'nms',
    work,
    lambda: ours(spans, scores),
    'plain Python',
    lambda: [
      plain(s.tolist(), c.tolist())
      for s, c in zip(spans[:sample], scores[:sample])
    ],
    scale=_VIDEOS / sample,
    quick=quick,
  )


def _soft_one_large(quick):
  n = _LARGE // 5 if quick else _LARGE
  spans, scores = _scored(1, n, span_sec=4_000.0)
  return _compare(
    'nms',
    f'Soft-NMS, one video of {n:,}, 200 kept',
    lambda: nms.soft_nms(spans[0], scores[0], max_proposals=200),
    'plain Python',
    lambda: _plain_soft_nms(spans[0].tolist(), scores[0].tolist(), 200),
    quick=quick,
  )


def _generation(quick):
  """Ten hours at 2.5 snippets a second."""
  num_snippets, feature_fps = 90_000, 2.5
  true = _instances(3_600, num_snippets / feature_fps)

  def run():
    labels = targets.stage_labels(true, num_snippets, feature_fps)
    return runs.generate(labels)

  part = num_snippets // (90 if quick else 18)
  labels = targets.stage_labels(true, part, feature_fps).tolist()
  return _compare(
    'nms',
    f'stage targets and candidates, {num_snippets:,} snippets',
    run,
    'plain Python (candidates only)',
    lambda: _plain_generate(labels),
    scale=num_snippets / part,
    quick=quick,
  )


def _chain(quick):
  """Stage sequences of 213 videos to kept proposals, about 1,000 a video."""
  rng = np.random.default_rng(1)
  feature_fps, num_snippets = 3.125, 650
  stages = [
    targets.stage_labels(
      _instances(10, num_snippets / feature_fps, rng), num_snippets, feature_fps
    )
    for _ in range(_VIDEOS)
  ]
  sample = 1 if quick else 4

  def run():
    made = [runs.generate(s) for s in stages]
    return nms.soft_nms_many(
      [segments.snippets_to_sec(m.starts, m.ends, feature_fps) for m in made],
      [m.pre_scores for m in made],
    )

  def plain():
    for s in stages[:sample]:
      made = _plain_generate(s.tolist())
      spans = [[i / feature_fps, (j + 1) / feature_fps] for i, j, _ in made]
      _plain_soft_nms(spans, [score for _, _, score in made])

  average = np.mean([len(runs.generate(s).starts) for s in stages])
  row = _compare(
    'nms',
    f'candidates, pre-score, Soft-NMS, {_VIDEOS} videos',
    run,
    'plain Python',
    plain,
    scale=_VIDEOS / sample,
    quick=quick,
  )
  row['note'] += f'; {average:.0f} candidates a video'
  return row


def _growth(quick):
  """Cost against the number of proposals and of videos, at equal density."""
  rows = []
  for n in (
    (_LARGE // 20, _LARGE // 5)
    if quick
    else (_LARGE // 20, _LARGE // 5, _LARGE)
  ):
    spans, scores = _scored(1, n, span_sec=0.2 * n)
    seconds = _cpu_seconds(lambda s=spans, c=scores: nms.soft_nms(s[0], c[0]))
    note = f'{seconds / n * 1e6:.1f} us a proposal'
    rows.append(
      _row('nms', f'Soft-NMS, one video of {n:,}, full', seconds, note=note)
    )
  for v in (50, 200) if quick else (50, 200, 800):
    spans, scores = _scored(v, 300)
    seconds = _cpu_seconds(lambda s=spans, c=scores: nms.soft_nms_many(s, c))
    note = f'{seconds / v * 1e3:.2f} ms a video'
    rows.append(
      _row('nms', f'Soft-NMS, {v} videos of 300, full', seconds, note=note)
    )
  return rows


def _compare(suite, work, ours, name, alternative, *, scale=1.0, quick=False):
  """Both run by turns; the ratio with its spread over the turns."""
  pairs = []
  ours()  # the first run pays for memory that later ones find ready
  for _ in range(1 if quick else 3):
    mine = _cpu_seconds(ours, repeats=1)
    theirs = scale * _cpu_seconds(alternative, repeats=1)
    pairs.append((mine, theirs))
  ratios = [mine / theirs for mine, theirs in pairs]
  row = _row(suite, work, statistics.median(mine for mine, _ in pairs))
  row['alternative'] = name
  row['alternative_s'] = statistics.median(theirs for _, theirs in pairs)
  row['ratio'] = statistics.median(ratios)
  row['note'] = (
    f'1/{1 / row["ratio"]:.0f}, ratios {min(ratios):.2g}-{max(ratios):.2g}'
  )
  if scale != 1:
    row['note'] += f'; alternative timed on 1/{scale:.0f} of the work'
  return row


def _row(suite, work, seconds, note=''):
  return {
    'suite': suite,
    'work': work,
    'ours_s': seconds,
    'alternative': None,
    'alternative_s': None,
    'ratio': None,
    'note': note,
  }


def _cpu_seconds(run: Callable[[], object], repeats: int = 3) -> float:
  times = []
  for _ in range(repeats):
    start = time.process_time()
    run()
    times.append(time.process_time() - start)
  return max(statistics.median(times), 1e-9)  # a clock tick can hide a run


def _peak_memory() -> str:
  return f'peak {process_memory.peak_bytes() / 1e9:.2f} GB'


def _instances(n, span_sec, rng=None):
  rng = rng or np.random.default_rng(0)
  start = rng.uniform(0, span_sec, n)
  return np.stack([start, start + rng.uniform(1, 10, n)], axis=1)


def _scored(num_videos, n, span_sec=200.0):
  """Proposals as an evaluator leaves them: all lengths, all over the video."""
  rng = np.random.default_rng(0)
  start = rng.uniform(0, span_sec, (num_videos, n))
  length = rng.uniform(1, 30, (num_videos, n))
  return (
    list(np.stack([start, start + length], axis=-1)),
    list(rng.uniform(0, 1, (num_videos, n))),
  )


def _corpus(num_videos, n, num_true):
  spans, scores = _scored(num_videos, n)
  rng = np.random.default_rng(1)
  names = [f'video_{k:05d}' for k in range(num_videos)]
  found = dict(zip(names, zip(spans, scores)))
  return found, {k: _instances(num_true, 190.0, rng) for k in names}


def _plain_tiou(a, b):
  inside = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
  union = (a[1] - a[0]) + (b[1] - b[0]) - inside
  return inside / union if union > 0 else 0.0


def _plain_soft_nms(spans, scores, most=None, sigma=0.75, threshold=0.65):
  """A loop over choices and a loop over what is left."""
  left = list(zip(scores, spans))
  kept = []
  while left and (most is None or len(kept) < most):
    best = max(range(len(left)), key=lambda k: left[k][0])
    kept.append(left.pop(best))
    for k, (score, span) in enumerate(left):
      tiou = _plain_tiou(kept[-1][1], span)
      if tiou > threshold:
        left[k] = score * math.exp(-(tiou**2) / sigma), span
  return kept


def _plain_greedy_nms(spans, scores, threshold=0.8):
  kept = []
  for k in sorted(range(len(scores)), key=lambda k: -scores[k]):
    if all(_plain_tiou(spans[k], spans[j]) <= threshold for j in kept):
      kept.append(k)
  return kept


def _plain_generate(stages, rate=0.09):
  """Candidates run by run, pair by pair."""
  made, run = [], []
  for t, stage in enumerate([*stages, stage_names.BACKGROUND]):
    fresh = run and stages[t - 1] >= stage_names.END and 1 <= stage <= 2
    if run and (stage == stage_names.BACKGROUND or fresh):
      made.extend(_plain_pairs(stages, run, rate))
      run = []
    if stage != stage_names.BACKGROUND:
      run.append(t)
  return sorted(made, key=lambda c: (-c[2], c[0], c[1]))


def _plain_pairs(stages, run, rate):
  confirm = [t for t in run if stages[t] == stage_names.CONFIRM]
  half = len(confirm) // 2
  starts = [t for t in run if stages[t] in (1, 2)]
  starts += confirm[: len(confirm) - half]
  ends = [t for t in run if stages[t] >= stage_names.END] + confirm[half:]
  first = [t for t in run if stages[t] == stage_names.START] or confirm or run
  last = [t for t in run if stages[t] == stage_names.END] or confirm or run
  for i in starts:
    for j in ends:
      near = 1 - abs(i - first[0]) * rate, 1 - abs(j - last[-1]) * rate
      if i < j and min(near) > 0:
        if any(stages[t] in (2, 3, 5) for t in range(i, j + 1)):
          yield i, j, near[0] * near[1]


def _loop_recall(found, truth, num_thresholds):
  """Recall counted anew for every threshold, video and percentage."""
  tious = []
  for video, true in truth.items():
    spans, scores = found[video]
    tious.append(segments.tiou(true, spans[np.argsort(-scores)]))
  recall = np.zeros((num_thresholds, 100))
  for k, threshold in enumerate(np.linspace(0.5, 1, num_thresholds)):
    for percent in range(1, 101):
      hits = [
        (tiou[:, : int(tiou.shape[1] * percent / 100)] >= threshold).any(axis=1)
        for tiou in tious
      ]
      recall[k, percent - 1] = np.concatenate(hits).mean()
  return recall


def _thumos14_test(folder):
  truth, durations = collections.defaultdict(list), {}
  path = folder / 'thumos14_test_groundtruth.csv'
  with open(path, newline='', encoding='utf-8') as file:
    for row in csv.DictReader(file):
      video = row['video-name']
      truth[video].append((float(row['t-init']), float(row['t-end'])))
      durations[video] = float(row['video-duration'])
  return {video: np.array(rows) for video, rows in truth.items()}, durations
