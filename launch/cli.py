"""What all commands share: flags, exit statuses, warnings in one line."""

import errno
import os
import pathlib
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence

from absl import app, flags, logging

# XLA warns of two tuning hints ("prefer-no-gather") that are no processor
# features at all, on every load of a program from the compilation cache. Read
# when jax is imported, so it stands here. 1 is what jax itself sets: a command
# that a program or a notebook with jax starts inherits it.
if os.environ.get('TF_CPP_MIN_LOG_LEVEL', '1') == '1':
  os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'

_QUIET = flags.DEFINE_bool(
  'quiet', False, 'Show no progress, and no notes but warnings.'
)
_TRACEBACK = flags.DEFINE_bool(
  'traceback', False, 'Show the whole traceback of an error.'
)


# Modules with flags of several commands.
_SHARED = {
  'input_flags': 'Which videos',
  'video_flags': 'How videos are read',
  'feature_flags': 'How features are read',
  'proposal_flags': 'How proposals are read',
  'final_flags': 'The final list',
  'report_run': 'A trained run in place of proposals',
  'engine_flags': 'Who works',
}


class Failed(RuntimeError):
  """The run failed; its message is the last line that a user sees."""


def run(main: Callable[[Sequence[str]], int | None]) -> None:
  """Runs a command: parses its flags, calls `main`, exits with its status.

  0: done.  1: the run failed.  2: the call or its input is wrong (ValueError,
  TypeError, FileNotFoundError...).  The last line says what happened.  Words
  that are no flags are refused, but for as many as `main.arguments`.
  """
  warnings.showwarning = _show_warning
  try:
    app.run(lambda argv: sys.exit(_guarded(main, argv)), flags_parser=_parse)
  except flags.Error as error:
    _last_line(error)
    sys.exit(2)


def speak_alike() -> None:
  """For a process of a command's own: warnings in one line, as `run` has them."""
  warnings.showwarning = _show_warning
  flags.FLAGS.mark_as_parsed()  # or absl notes that they are not
  _quieten_libraries()


def quiet() -> bool:
  """Whether progress is not shown; see `cmsn_jax.progress` for where it is."""
  return _QUIET.value


def use_compilation_cache() -> None:
  """See `devices.keep_compiled`."""
  from cmsn_jax.engines import devices

  devices.keep_compiled()


def require(**values: object) -> None:
  """Raises a ValueError that names the first flag without a value."""
  for name, value in values.items():
    if not value:
      raise ValueError(f'--{name} is needed; see --help')


def whole_numbers(name: str, texts: Sequence[str]) -> tuple[int, ...]:
  """The numbers of a list flag.

  Raises:
    ValueError: if there is none, or one is no whole number from 1 on.
  """
  try:
    numbers = tuple(int(text) for text in texts)
  except ValueError:
    numbers = ()
  if not numbers or min(numbers) < 1:
    raise ValueError(
      f'--{name}={",".join(texts)} must be whole numbers from 1 on'
    )
  return numbers


def check_outputs(
  files: Mapping[str, str] | None = None,
  folders: Mapping[str, str] | None = None,
) -> None:
  """Proves that outputs can be written, before the work begins.

  Nothing is made; empty values are not looked at.

  Args:
    files: flag -> file to be written, its folder may be missing.
    folders: flag -> folder to be written into, which may be missing.
  Raises:
    ValueError: naming the flag.
  """
  for name, value in (files or {}).items():
    if value and pathlib.Path(value).is_dir():
      raise ValueError(f'--{name}={value} is a folder; give the name of a file')
  for name, value in {**(files or {}), **(folders or {})}.items():
    if not value:
      continue
    path = pathlib.Path(value).absolute()
    if name in (files or {}):
      path = path.parent
    # What is missing will be made below the nearest folder that is there.
    path = next(p for p in (path, *path.parents) if p.exists())
    if not path.is_dir():
      raise ValueError(
        f'--{name}={value} cannot be written: {path} is a file, not a folder'
      )
    try:
      with tempfile.TemporaryFile(dir=path):
        pass
    except OSError as error:
      if _is_of_the_machine(error):
        raise
      raise ValueError(
        f'--{name}={value} cannot be written: {error.strerror} ({path})'
      ) from error


def _parse(argv):
  if any(text in ('--help', '-help', '-h', '--helpfull') for text in argv[1:]):
    print(sys.modules['__main__'].__doc__)
    own = flags.FLAGS.main_module_help()
    print('Flags:\n' + own.strip().partition('\n')[2])
    if 'config' in flags.FLAGS:
      print('  --config.key=value: Changes a key; see configs/default.py.')
    for name, title in _SHARED.items():
      module = sys.modules.get(f'{__package__}.{name}')
      if module:
        text = flags.FLAGS.module_help(module).strip()
        print(f'\n{title}:\n{text.partition(chr(10))[2]}')
    shared = flags.FLAGS.module_help(sys.modules[__name__])
    print('\nOf all commands:\n' + shared.strip().partition('\n')[2])
    sys.exit(0)
  try:
    # Not app.parse_flags_with_usage, which ends with 1 on a misspelt flag.
    argv = [*argv[:1], *map(_current_key, argv[1:])]
    # Where ml_collections looks for the keys that are given.
    sys.argv[1:] = argv[1:]
    return flags.FLAGS(argv)
  except (flags.Error, ValueError, AttributeError, KeyError, OSError) as error:
    # A config file that raises, or has not the key of an override.
    _last_line(error)
    sys.exit(2)


def _current_key(word):
  """`--config.joint.steps=20` of older versions is `--config.template.steps=20`.

  Said so, since only the new name is in the documentation.
  """
  found = re.fullmatch(r'(--?)config\.([\w.]+)=(.*)', word, re.S)
  if not found:
    return word
  from cmsn_jax.runs import config_history

  dashes, *given = found.groups()
  now = config_history.current_key(*given)
  if now == tuple(given):
    return word
  new = f'{dashes}config.{now[0]}={now[1]}'
  print(f'note: {word} is now called {new}', file=sys.stderr)
  return new


def _guarded(main, argv):
  _quieten_libraries()
  taken = 1 + getattr(main, 'arguments', 0)
  if len(argv) > taken:
    _last_line(
      f'unexpected argument {argv[taken]!r}; flags look like --name=value'
    )
    return 2
  logging.set_verbosity(logging.WARNING if _QUIET.value else logging.INFO)
  try:
    return main(argv) or 0
  except Failed as error:
    return _fail(error, 1)
  except (ValueError, TypeError, OSError) as error:
    return _fail(error, 1 if _is_of_the_machine(error) else 2)
  except KeyboardInterrupt:
    return _fail('interrupted', 1)
  except Exception as error:
    return _fail(error, 1)


def _quieten_libraries():
  logging.use_absl_handler()
  # Orbax tells of every file it writes, and warns of being read-only, which is
  # asked of it; JAX of every backend that is not there. JAX's warnings are
  # kept: that a GPU is there and not used must be seen.
  logging.get_absl_handler().addFilter(
    lambda record: (
      record.levelno >= 40
      or 'orbax' not in record.pathname
      and (record.levelno >= 30 or 'xla_bridge' not in record.pathname)
    )
  )


def _is_of_the_machine(error):
  """Whether the machine failed, and not the call."""
  return isinstance(error, OSError) and error.errno in (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
  )


def _fail(error, status):
  if _TRACEBACK.value:
    traceback.print_exc()
  _last_line(error)
  return status


def _readable(error):
  """The message, unwrapped from what libraries put around it."""
  text = str(error)
  if isinstance(error, AttributeError) and 'Did you mean' in text:
    found = re.findall(r'Did you mean "([^"]*)" instead of "([^"]*)"', text)
    if found:
      return f'no config key {found[0][1]!r}; did you mean {found[0][0]!r}?'
  return text


def _last_line(error):
  name = (
    ''
    if isinstance(
      error,
      (
        str,
        ValueError,
        TypeError,
        OSError,
        AttributeError,
        flags.Error,
        Failed,
      ),
    )
    else (f'{type(error).__name__}: ')
  )
  print(f'error: {name}{_readable(error)}', file=sys.stderr)


# A damaged video is looked at and then read: one line says so.
_shown = set()


def _show_warning(message, category, filename, lineno, file=None, line=None):
  del filename, lineno, line
  if (category, str(message)) in _shown:
    return
  _shown.add((category, str(message)))
  print(f'{category.__name__}: {message}', file=file or sys.stderr)
