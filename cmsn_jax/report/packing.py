"""A video's numbers in few bytes, as the page's script unpacks them."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from cmsn_jax.files import proposal_files


def video(
  shown: Any,
  index: Mapping[str, int],
  result: dict[str, object],
  max_proposals: int,
  max_snippets: int,
) -> dict[str, object]:
  """One video: times in milliseconds, scores in 1/65535, posterior in 1/255.

  Args:
    shown: a `report_page.Entry`.
    index: number of each label.
    result: the page so far: its `score_range`; gets `averaged_stages`.
    max_proposals: a video's best that are kept.
    max_snippets: longer stage sequences are averaged down to at most this.
  """
  kept = min(max_proposals, len(shown.proposals.scores))
  truth = [] if shown.segments_sec is None else shown.segments_sec.tolist()
  packed = {
    'id': shown.video_id,
    'duration': round(shown.duration_sec, 3),
    'truth': [
      [round(start, 3), round(end, 3), index[name]]
      for (start, end), name in zip(truth, shown.labels)
    ],
    'total': len(shown.proposals.scores),
    'kept': kept,
    **_packed_list(shown.proposals, kept, index, result),
  }
  if shown.other is not None:
    packed['other'] = _packed_list(shown.other, max_proposals, index, result)
    packed['other']['total'] = len(shown.other.scores)
  if len(shown.ignore):
    packed['ignore'] = shown.ignore.round(3).tolist()
  if shown.url:
    packed['url'] = shown.url
  if shown.frames:
    packed['frames'] = [[round(time, 3), data] for time, data in shown.frames]
  if shown.probabilities is not None:
    group = -(-len(shown.probabilities) // max_snippets)
    if group > 1:
      result['averaged_stages'] = True
    packed['stages'] = pack_stages(_averaged(shown.probabilities, group))
    packed['rate'] = shown.feature_fps / group
  return packed


def _packed_list(
  found: proposal_files.Proposals,
  most: int,
  index: Mapping[str, int],
  result: dict[str, object],
) -> dict[str, str]:
  """A video's best proposals: times, scores, labels and how sure those are."""
  packed = {
    'packed': pack_proposals(
      found.segments[:most], found.scores[:most], result['score_range']
    )
  }
  if found.labels is not None:
    numbers = np.array([index[name] for name in found.labels[:most]], '<u2')
    packed['named'] = base64.b64encode(numbers.tobytes()).decode('ascii')
  if found.label_scores is not None:
    sure = found.label_scores[:most].astype('<f4')
    packed['sure'] = base64.b64encode(sure.tobytes()).decode('ascii')
  return packed


def _averaged(
  probabilities: Float[np.ndarray, 't s'], group: int
) -> Float[np.ndarray, 'u s']:
  starts = np.arange(0, len(probabilities), group)
  sums = np.add.reduceat(probabilities, starts, axis=0)
  sizes = np.diff(np.append(starts, len(probabilities)))
  return (sums / sizes[:, None]).astype(probabilities.dtype)


def pack_proposals(
  spans: Float64[np.ndarray, 'n 2'],
  scores: Float64[np.ndarray, ' n'],
  score_range: tuple[float, float] | list[float],
) -> str:
  """Starts, ends (uint32 ms), scores (uint16), 10 bytes each, in base64.

  Starts before 0 become 0: the page's time axis begins there.
  """
  low, high = score_range
  ms = np.clip(np.rint(spans * 1000), 0, 2**32 - 1).astype('<u4')
  share = (scores - low) / max(high - low, 1e-12)
  levels = np.rint(np.clip(share, 0, 1) * 65535).astype('<u2')
  raw = ms[:, 0].tobytes() + ms[:, 1].tobytes() + levels.tobytes()
  return base64.b64encode(raw).decode('ascii')


def pack_stages(probabilities: Float[np.ndarray, 't s']) -> str:
  """Probabilities as bytes of 1/255, snippet after snippet, in base64."""
  levels = np.rint(np.clip(probabilities, 0, 1) * 255).astype(np.uint8)
  return base64.b64encode(levels.tobytes()).decode('ascii')
