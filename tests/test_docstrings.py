"""Every public function says what it does and what it takes."""

import ast
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_FILES = sorted((_ROOT / 'cmsn_jax').rglob('*.py'))
# A module of flax is described by its class: what it is made of, and called
# with.
_OF_THE_CLASS = ('__init__', '__call__', 'setup')


def _public(tree):
  """(name, function) of the public functions and methods of a module."""
  todo = [('', tree.body)]
  while todo:
    prefix, body = todo.pop()
    for node in body:
      if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
        todo.append((f'{prefix}{node.name}.', node.body))
      elif isinstance(node, ast.FunctionDef):
        if node.name in _OF_THE_CLASS or not node.name.startswith('_'):
          yield f'{prefix}{node.name}', node


@pytest.mark.parametrize(
  'path', _FILES, ids=lambda path: str(path.relative_to(_ROOT))
)
def test_public_functions_are_described(path):
  inside = path.relative_to(_ROOT / 'cmsn_jax').as_posix()
  tree = ast.parse(path.read_text(encoding='utf-8'))
  assert ast.get_docstring(tree), f'{path} has no docstring'
  for name, function in _public(tree):
    where = f'{inside}: {name}'
    if function.name not in _OF_THE_CLASS:
      assert ast.get_docstring(function), f'{where} has no docstring'
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    named += [one for one in (given.vararg, given.kwarg) if one]
    for one in named:
      if one.arg not in ('self', 'cls'):
        assert one.annotation, f'{where}: {one.arg} has no annotation'
