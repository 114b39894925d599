"""Result files that grow video by video and lose nothing that was done.

Each finished video is one line of `<output>.partial.jsonl`; the last step turns
the lines into the result file.
"""

import json
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np
from absl import logging

from cmsn_jax.files import proposal_files, replacing


class Results:
  """Proposals by video, kept line by line until `finish` writes the file.

  Args:
    output: the result file.
    identity: of the model; what another one made is made again.
    inputs: where the videos come from, as the user says it; kept in the file.
    append: keep what was made of other inputs too.

  Raises:
    ValueError: if the same model made the file of other inputs.
  """

  def __init__(
    self,
    output: pathlib.Path,
    identity: str,
    inputs: Sequence[str] = (),
    append: bool = False,
  ):
    self._output = output
    self._partial = output.with_name(output.name + '.partial.jsonl')
    self._identity = identity
    self._inputs, self._earlier = list(inputs), []
    self.done: dict[str, proposal_files.Proposals] = {}
    # What each was made of, as far as that is known.
    self.sources: dict[str, dict] = {}
    self._read_output()
    self._read_partial()
    if not append:
      self._check_inputs()

  def add(
    self,
    video_id: str,
    found: proposal_files.Proposals,
    source: dict | None = None,
  ) -> None:
    """Keeps one video's proposals on disk, and what they were made of."""
    line = {
      'model': self._identity,
      'inputs': self._all_inputs(),
      'video': video_id,
      'source': source,
      'segments': found.segments.tolist(),
      'scores': found.scores.tolist(),
    }
    if found.labels is not None:
      line['labels'] = list(found.labels)
    if found.label_scores is not None:
      line['label_scores'] = found.label_scores.tolist()
    self._partial.parent.mkdir(parents=True, exist_ok=True)
    with (
      replacing.named(self._partial),
      open(self._partial, 'a', encoding='utf-8') as file,
    ):
      file.write(json.dumps(line) + '\n')
    self.done[video_id] = found
    self.sources.pop(video_id, None)
    if source:
      self.sources[video_id] = source

  def forget(self, video_id: str) -> None:
    """A video is to be done again."""
    self.done.pop(video_id, None)
    self.sources.pop(video_id, None)

  def finish(self) -> None:
    """Writes the result file and drops the lines."""
    _write(
      self._output, self.done, self._identity, self._all_inputs(), self.sources
    )
    self._partial.unlink(missing_ok=True)

  def _all_inputs(self):
    return list(dict.fromkeys([*self._earlier, *self._inputs]))

  def _check_inputs(self):
    """Another folder's videos would stand in this input's results unseen."""
    known = {os.path.realpath(path) for path in self._earlier}
    new = [x for x in self._inputs if os.path.realpath(x) not in known]
    if self.done and self._earlier and new:
      raise ValueError(
        f'{self._output} holds {len(self.done)} videos of '
        f'{", ".join(self._earlier)}, the input is now {", ".join(new)}; give '
        'another --output, or --append to have both in this file'
      )

  def _read_output(self):
    if not self._output.exists():
      return
    if _model_of(self._output) == self._identity:
      self.done.update(proposal_files.read(self._output))
      self._earlier += inputs_of(self._output)
      self.sources.update(_about(self._output).get('sources', {}))
    else:
      logging.info('%s is of another model: made again', self._output)

  def _read_partial(self):
    if not self._partial.exists():
      return
    lines = self._partial.read_text(encoding='utf-8', errors='replace')
    if lines and not lines.endswith('\n'):
      # The line that a kill cut short must not swallow the next one.
      with open(self._partial, 'a', encoding='utf-8') as file:
        file.write('\n')
    for text in lines.splitlines():
      try:
        line = json.loads(text)
        if line['model'] == self._identity:
          self._earlier += line.get('inputs', ())
          self.done[line['video']] = _proposals_of(line)
          if line.get('source'):
            self.sources[line['video']] = line['source']
      except (ValueError, KeyError, TypeError):
        logging.warning('%s: a line cut short is made again', self._partial)


def _proposals_of(line):
  labels, sure = line.get('labels'), line.get('label_scores')
  return proposal_files.Proposals(
    np.array(line['segments'], np.float64).reshape(-1, 2),
    np.array(line['scores'], np.float64),
    None if labels is None else tuple(labels),
    None if sure is None else np.array(sure, np.float64),
  )


def shard_path(output: pathlib.Path, index: int, count: int) -> pathlib.Path:
  """Where one of several shards writes its results."""
  if count == 1:
    return output
  return output.with_name(f'{output.stem}.shard-{index}-of-{count}.json')


def join(
  output: pathlib.Path, count: int, identity: str, csv: str | None
) -> None:
  """Joins all shards' results; the last to finish finds them all."""
  paths = [shard_path(output, i, count) for i in range(count)]
  if not all(p.exists() and _model_of(p) == identity for p in paths):
    logging.info('%s waits for the other shards', output)
    return
  results, inputs, sources = {}, [], {}
  for path in paths:
    results.update(proposal_files.read(path))
    inputs += inputs_of(path)
    sources.update(_about(path).get('sources', {}))
  if count > 1:
    inputs = list(dict.fromkeys(inputs))
    _write(output, results, identity, inputs, sources)
  if csv:
    proposal_files.write_csv(csv, dict(sorted(results.items())))
  logging.info('wrote %s: %d videos', output, len(results))


def inputs_of(path: pathlib.Path) -> list[str]:
  """Where the videos of a result file come from; empty if it does not say."""
  return _about(path).get('inputs', [])


def _about(path) -> dict:
  """What a result file says of itself, without reading its proposals."""
  with open(path, 'rb') as file:
    # As `proposal_files.write` has them, before the proposals.
    file.readline(2**12)
    line = file.readline(2**28).strip().rstrip(b',')
  try:
    about = json.loads(b'{' + line + b'}')
  except ValueError:
    return {}
  return about.get('external_data', {})


def _write(path, results, identity, inputs, sources):
  """In the order of the ids, whoever was done first."""
  about = {
    'used': False,
    'details': '',
    'model': identity,
    'inputs': inputs,
    'sources': dict(sorted(sources.items())),
  }
  proposal_files.write(path, dict(sorted(results.items())), external_data=about)


def _model_of(path):
  """The model named at the end of a result file, without reading it whole."""
  size = os.path.getsize(path)
  with open(path, 'rb') as file:
    head = file.read(4096)
    file.seek(max(0, size - 4096))
    found = re.search(rb'"model":\s*"([0-9a-f]+)"', head + file.read())
  return found.group(1).decode() if found else None
