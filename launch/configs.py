"""Lists the configs that come with the package, or copies them for your use.

python -m launch.configs --output=configs
"""

import ast
import pathlib

from absl import flags

from . import cli

_OUTPUT = flags.DEFINE_string('output', '', 'Folder to copy them into.')


def main(argv):
  """Lists or copies."""
  del argv
  from cmsn_jax.files import replacing

  found = recipes()
  if not _OUTPUT.value:
    width = max(len(path.stem) for path in found)
    for path in found:
      tree = ast.parse(path.read_text(encoding='utf-8'))
      print(f'{path.stem:<{width}}  {ast.get_docstring(tree).splitlines()[0]}')
    print(f'\n--output=configs copies them from {found[0].parent}')
    return 0
  cli.check_outputs(folders={'output': _OUTPUT.value})
  output = pathlib.Path(_OUTPUT.value)
  copies = {output / path.name: path.read_bytes() for path in found}
  for path, content in copies.items():
    if path.exists() and path.read_bytes() != content:
      raise ValueError(
        f'{path} is there already, with other contents; give another '
        '--output, or move it away'
      )
  for path, content in copies.items():
    with replacing.file(path, 'wb') as file:
      file.write(content)
  print(f'copied {len(copies)} configs: {output}')
  return 0


def recipes() -> list[pathlib.Path]:
  """The config files: of the checkout, or of the installed package."""
  folder = pathlib.Path(__file__).resolve().parents[1] / 'configs'
  return sorted(folder.glob('[!_]*.py'))


if __name__ == '__main__':
  cli.run(main)
