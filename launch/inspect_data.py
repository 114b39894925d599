r"""Looks at a folder and says what it holds, what fits, and what to do next.

    python -m launch.inspect_data my_recordings/

Videos, features, annotations of any known format, proposals, trained runs: in
the folder and two folders below. Nothing is written.
"""

from absl import flags

from . import cli, video_flags

_INPUT = flags.DEFINE_string(
  'input', '', 'The folder; may also be given without the flag.'
)


def main(argv):
  """Prints."""
  path = _INPUT.value or (argv[1] if len(argv) > 1 else '')
  cli.require(input=path)
  video_flags.apply()
  from cmsn_jax.data import inspection

  report = inspection.inspect(path)
  if not report.parts:
    print(f'{path}: nothing in it that is known')
  for part in report.parts:
    print(f'{part.kind:<12}{part.path}: {part.text}')
    if part.problem:
      print(f'{"":<12}  not usable as it is: {part.problem}')
  for title, lines in (
    ('fits together', report.fits),
    ('missing', report.missing),
    ('next', report.commands),
  ):
    if lines:
      print(f'\n{title}:')
      for line in lines:
        print(f'  {line}')
  return 0


main.arguments = 1

if __name__ == '__main__':
  cli.run(main)
