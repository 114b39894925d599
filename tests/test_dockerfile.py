"""The Dockerfile names what is there; .ci/try_image runs its steps."""

import fnmatch
import re
import tomllib

import pytest

from tests import dockerfile

_STEPS = dockerfile.steps()
_ROOT = dockerfile.ROOT
_KNOWN = {
  'ARG', 'FROM', 'WORKDIR', 'COPY', 'RUN', 'ENV', 'USER', 'EXPOSE', 'ENTRYPOINT',
}  # fmt: skip


def _of(name):
  return [step for step in _STEPS if step.name == name]


def test_instructions_are_known():
  assert {step.name for step in _STEPS} <= _KNOWN
  assert _STEPS[0].name == 'ARG' and _STEPS[-1].name == 'ENTRYPOINT'


def test_bases_are_of_one_version_that_we_support():
  (version,) = [s.text for s in _STEPS[:1]]
  name, _, number = version.partition('=')
  assert name == 'PYTHON'
  project = tomllib.loads((_ROOT / 'pyproject.toml').read_text())['project']
  least = re.fullmatch(r'>=3\.(\d+)', project['requires-python'])[1]
  assert re.fullmatch(r'3\.\d+', number) and int(number[2:]) >= int(least)
  bases = [step.text.split()[0] for step in _of('FROM')]
  assert bases == ['python:${PYTHON}-slim'] * 2


@pytest.mark.parametrize('step', _of('COPY'), ids=lambda step: step.text)
def test_what_is_copied_is_there(step):
  stage, sources, _ = dockerfile.copied(step)
  if stage:
    assert any(s.text.endswith(f' AS {stage}') for s in _of('FROM'))
    return
  for source in sources:
    found = list(_ROOT.glob(source.rstrip('/')))
    assert found, source
    assert not source.endswith('/') or found[0].is_dir(), source
    for path in found:
      assert _sent(path.name), f'{path.name} is in .dockerignore'


def _sent(name):
  """Whether .dockerignore lets a name at the root through; the last line wins."""
  sent = True
  for line in (_ROOT / '.dockerignore').read_text().splitlines():
    line = line.strip()
    if line and not line.startswith('#'):
      if fnmatch.fnmatchcase(name, line.removeprefix('!')):
        sent = line.startswith('!')
  return sent


def test_what_is_not_copied_is_not_sent():
  sources = [x for s in _of('COPY') for x in dockerfile.copied(s)[1]]
  for path in _ROOT.iterdir():
    wanted = any(fnmatch.fnmatchcase(path.name, x.rstrip('/')) for x in sources)
    assert _sent(path.name) == wanted, path.name


def test_the_package_and_its_metadata_are_copied():
  """All that pyproject.toml names."""
  document = tomllib.loads((_ROOT / 'pyproject.toml').read_text())
  tool, project = document['tool']['setuptools'], document['project']
  named = {project['readme'], *project['license-files'], 'pyproject.toml'}
  named |= {
    tool['package-dir'].get(p, p).split('.')[0] for p in tool['packages']
  }
  for value in tool['dynamic']['optional-dependencies'].values():
    named.update(value['file'])
  sources = [x for s in _of('COPY') for x in dockerfile.copied(s)[1]]
  for name in named:
    assert any(fnmatch.fnmatchcase(name, x.rstrip('/')) for x in sources), name


def test_extras_and_variants_exist():
  document = tomllib.loads((_ROOT / 'pyproject.toml').read_text())
  known = document['tool']['setuptools']['dynamic']['optional-dependencies']
  (install,) = [s.text for s in _of('RUN') if 'pip install' in s.text]
  extras = re.search(r'extras="([\w,]+)"', install)[1].split(',')
  assert set(extras) <= set(known)
  text = (_ROOT / 'Dockerfile').read_text()
  for variant in re.findall(r'VARIANT=(\w+)', text):
    assert variant == 'cpu' or variant in known, variant


def test_it_runs_the_command_as_nobody_special():
  assert dockerfile.words(_of('ENTRYPOINT')[0]) == ['cmsn']
  (user,) = [step.text for step in _of('USER')]
  assert re.fullmatch(r'[1-9]\d*:[1-9]\d*', user)
  serve = (_ROOT / 'launch' / 'serve.py').read_text()
  assert f"'port', {_of('EXPOSE')[0].text}," in serve


@pytest.mark.parametrize('name', ['try_image', 'try_wheel'])
def test_what_is_tried_is_not_the_checkout(name):
  assert 'PYTHONPATH' in (_ROOT / '.ci' / name).read_text()
