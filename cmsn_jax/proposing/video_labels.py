"""Labels of whole videos, from any classifier, joined with proposals.

ActivityNet's way: a classifier says what happens somewhere in a video, a
proposal says when; each of the video's likeliest labels gets a row, with the
product of both scores.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping

import numpy as np

from cmsn_jax.chains import prediction
from cmsn_jax.files import json_files

_EXPECTED = (
  'expected {"results": {"<video id>": [{"label": "…", "score": x}, …]}} or '
  '{"<video id>": {"<label>": x}}'
)


@dataclasses.dataclass(frozen=True)
class VideoLabels:
  """What a classifier says of videos.

  Attributes:
    path: of the file, for messages.
    scores: label -> score, at least 0, by video id; best first.
    top: labels of a video that count.
  """

  path: str
  scores: dict[str, dict[str, float]]
  top: int = 2

  @property
  def identity(self) -> str:
    """Names the scores that count."""
    text = json.dumps([self.top, self.scores])
    return hashlib.sha256(text.encode()).hexdigest()[:16]

  def missing(self, video_ids: Iterable[str]) -> dict[str, str]:
    """Videos without scores -> what to do."""
    return {
      video_id: f'{self.path} (--video_labels) has no scores of {video_id}; it '
      f'has {len(self.scores)} videos, e.g. {next(iter(self.scores))}'
      for video_id in video_ids
      if video_id not in self.scores
    }

  def of(
    self, video_id: str, found: prediction.Prediction
  ) -> prediction.Prediction:
    """A prediction with the video's labels in place of its own.

    Where the chain gives labels, a label's score is multiplied by how likely
    the chain holds it to be among these. One that the chain does not know is as
    likely as the others are on average; all alike, if it knows none, so that
    scores of videos with known and with unknown labels compare.

    Args:
      video_id: one of `scores`.
      found: of the video.
    """
    best = list(self.scores[video_id].items())[: self.top]
    names = tuple(name for name, _ in best)
    count = len(found.proposals.scores)
    likely = np.tile(np.array([x for _, x in best], np.float64), (count, 1))
    own = found.labels
    if own is not None:
      said = np.ones((count, len(names)))
      known = [k for k, name in enumerate(names) if name in own.names]
      if known:
        places = [own.names.index(names[k]) for k in known]
        of_known = np.maximum(own.probabilities[:, places], 1e-6)
        said[:, known] = of_known / of_known.mean(axis=1, keepdims=True)
      likely = likely * said / len(names)
    return prediction.labelled(
      found.proposals,
      found.probabilities,
      prediction.LabelScores(names, likely),
    )


def read(path: json_files.PathLike, top: int = 2) -> VideoLabels:
  """The scores in a file.

  Args:
    path: JSON, ActivityNet's classification results or label -> score by video
      id.
    top: labels of a video that count.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: on anything malformed.
  """
  if top < 1:
    raise ValueError(f'--video_labels_top must be at least 1, got {top}')
  document = json_files.read(path, ValueError)
  results = document
  if isinstance(document, dict) and 'results' in document:
    results = document['results']
  if not isinstance(results, dict) or not results:
    raise ValueError(f'{path}: found {json_files.shown(results)}, {_EXPECTED}')
  scores = {
    video_id: _of_video(path, video_id, given)
    for video_id, given in results.items()
  }
  return VideoLabels(str(path), scores, top)


def _of_video(path, video_id, given) -> dict[str, float]:
  pairs = None
  if isinstance(given, Mapping):
    pairs = list(given.items())
  elif isinstance(given, list) and all(isinstance(x, dict) for x in given):
    pairs = [(x.get('label'), x.get('score')) for x in given]
  if not pairs:
    raise ValueError(
      f'{path}: {video_id}: found {json_files.shown(given)}, {_EXPECTED}'
    )
  found = {}
  for label, value in pairs:
    score = json_files.number(value)
    if (
      not (isinstance(label, str) and label.strip())
      or score is None
      or score < 0
    ):
      raise ValueError(
        f'{path}: {video_id}: found label {json_files.shown(label)} with score '
        f'{json_files.shown(value)}, expected a name and a number of at least 0'
      )
    label = label.strip()
    if label in found:
      raise ValueError(f'{path}: {video_id}: found two scores of {label!r}')
    found[label] = score
  return dict(sorted(found.items(), key=lambda pair: -pair[1]))
