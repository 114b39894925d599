"""Reads a Dockerfile, as far as ours goes."""

import json
import pathlib
import re
import shlex
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Step(NamedTuple):
  """One instruction: its name, and what follows with continued lines joined."""

  name: str
  text: str


def steps(path: pathlib.Path = ROOT / 'Dockerfile') -> list[Step]:
  """The instructions of a file."""
  lines = path.read_text(encoding='utf-8').splitlines()
  text = '\n'.join(line for line in lines if not line.startswith('#'))
  text = re.sub(r'\\\n\s*', '', text)
  found = [line.split(None, 1) for line in text.splitlines() if line.strip()]
  return [Step(name, rest.strip()) for name, rest in found]


def copied(step: Step) -> tuple[str | None, list[str], str]:
  """(stage it is from, sources, target) of a COPY."""
  words = shlex.split(step.text)
  stage = None
  if words[0].startswith('--from='):
    stage = words.pop(0).removeprefix('--from=')
  assert not words[0].startswith('-'), step
  return stage, words[:-1], words[-1]


def words(step: Step) -> list[str]:
  """The words of an ENTRYPOINT or CMD in its JSON form."""
  return json.loads(step.text)
