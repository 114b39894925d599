r"""Prints AR@AN of a proposals file and writes it with its curves.

    python -m launch.evaluate --proposals=proposals.json \
      --annotations=annotations.json --subset=testing --protocol=thumos \
      --output=metrics/
"""

from absl import flags

from . import cli

_PROPOSALS = flags.DEFINE_string('proposals', '', 'ActivityNet result JSON.')
_ANNOTATIONS = flags.DEFINE_string(
  'annotations', '', 'ActivityNet ground-truth JSON.'
)
_SUBSET = flags.DEFINE_string(
  'subset', 'testing', 'training, validation or testing.'
)
_PROTOCOL = flags.DEFINE_string('protocol', 'thumos', 'thumos, anet or top_k.')
_OUTPUT = flags.DEFINE_string(
  'output', '', 'Folder for metrics.json and the curves; none: only print.'
)
_EXCLUDE_LABELS = flags.DEFINE_list(
  'exclude_labels', [], 'Ground truth that does not count, as Ambiguous.'
)
_ANS = flags.DEFINE_list(
  'ans', ['10', '20', '50', '100', '200'], 'Numbers of proposals of AR@AN.'
)
_FPS = flags.DEFINE_float(
  'fps', 30.0, 'Frames per second of the thumos protocol.'
)
_TIOU_THRESHOLDS = flags.DEFINE_list(
  'tiou_thresholds', [], "Instead of the protocol's own."
)


def main(argv):
  """Evaluates."""
  del argv
  cli.require(proposals=_PROPOSALS.value, annotations=_ANNOTATIONS.value)
  if _PROTOCOL.value not in ('thumos', 'anet', 'top_k'):
    raise ValueError(
      f'--protocol must be one of thumos, anet, top_k, got {_PROTOCOL.value!r}'
    )
  ans = _numbers('ans', _ANS.value, int)
  for an in ans:
    if an < 1:
      raise ValueError(f'--ans must be numbers of at least 1, got {an}')
  thresholds = _numbers('tiou_thresholds', _TIOU_THRESHOLDS.value, float)
  cli.check_outputs(folders={'output': _OUTPUT.value})
  from cmsn_jax.evaluation import from_files

  result = from_files.evaluate_files(
    _PROPOSALS.value,
    _ANNOTATIONS.value,
    _SUBSET.value,
    exclude_labels=_EXCLUDE_LABELS.value,
    protocol=_PROTOCOL.value,
    ans=ans,
    fps=_FPS.value,
    tiou_thresholds=thresholds or None,
  )
  print(from_files.table(result), flush=True)
  if _OUTPUT.value:
    from_files.write(result, _OUTPUT.value)


def _numbers(name, texts, kind):
  try:
    return tuple(kind(text) for text in texts)
  except ValueError:
    raise ValueError(
      f'--{name} must be numbers with commas between, got {",".join(texts)!r}'
    ) from None


if __name__ == '__main__':
  cli.run(main)
