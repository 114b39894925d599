"""Runs the command that is named: cmsn train --config=... --workdir=...

In a checkout, `python -m launch.train` is `cmsn train`.
"""

import ast
import difflib
import pathlib
import runpy
import sys

import cmsn_jax


def main() -> int:
  """Runs the command of `sys.argv[1]`, or lists the commands without one.

  Returns:
    the exit status, where it is not the command that ends the process.
  """
  name, *_ = [*sys.argv[1:], '--help']
  if name == '--version':
    print(f'cmsn {cmsn_jax.__version__}')
    return 0
  known = commands()
  if name in ('--help', '-help', '-h', '--helpfull', 'help'):
    print(_help(known))
    return 0
  if name not in known:
    close = difflib.get_close_matches(name.replace('-', '_'), known, 1)
    hint = f'did you mean {close[0]!r}?' if close else '`cmsn` lists them'
    print(f'error: no command {name!r}; {hint}', file=sys.stderr)
    return 2
  del sys.argv[1]
  # As `python -m` would, and no other command is imported: names of flags are
  # shared. Worker processes find the command's module again by its name.
  runpy.run_module(f'{__package__}.{name}', run_name='__main__', alter_sys=True)
  return 0


def commands() -> dict[str, str]:
  """Name -> first line of the docstring, in order; nothing is imported."""
  found = {}
  for path in sorted(pathlib.Path(__file__).parent.glob('[!_]*.py')):
    tree = ast.parse(path.read_text(encoding='utf-8'))
    if any(
      isinstance(x, ast.FunctionDef) and x.name == 'main' for x in tree.body
    ):
      found[path.stem] = ast.get_docstring(tree).partition('\n')[0]
  return found


def _help(known):
  width = max(map(len, known))
  lines = [f'  {name:<{width}}  {line}' for name, line in known.items()]
  return '\n'.join(
    [
      'Finds when something happens in long videos.',
      '',
      'cmsn COMMAND --flag=value ...',
      '',
      *lines,
      '',
      'cmsn COMMAND --help shows its flags, cmsn --version the version.',
    ]
  )


if __name__ == '__main__':
  sys.exit(main())
