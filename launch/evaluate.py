r"""Prints AR@AN or mAP of a proposals file and writes it with its curves.

    python -m launch.evaluate --proposals=proposals.json \
      --annotations=annotations.json --subset=testing --protocol=thumos \
      --output=metrics/

AR@AN (thumos, anet, top_k) says how many segments are found, whatever they
are; mAP (map, map_anet) also whether their labels are right, and needs a label
in every row of the proposals.

Other tools' results are read too: BSN's and BMN's folder of CSV, ActionFormer's
pickle (nothing in it is run), result JSON of any dialect, CSV of video, start,
end and score, the lists of DAPs, TURN and TAG.
"""

from absl import flags

from . import cli, proposal_flags

_PROPOSALS = flags.DEFINE_string(
  'proposals', '', 'ActivityNet result JSON, or what another tool wrote.'
)
_ANNOTATIONS = flags.DEFINE_string(
  'annotations', '', 'ActivityNet ground-truth JSON.'
)
_SUBSET = flags.DEFINE_string(
  'subset', 'testing', 'training, validation or testing.'
)
_AR_PROTOCOLS = 'thumos', 'anet', 'top_k'
_MAP_PROTOCOLS = 'map', 'map_anet'
_PROTOCOL = flags.DEFINE_string(
  'protocol', 'thumos', 'AR@AN: thumos, anet or top_k; mAP: map or map_anet.'
)
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
_AMBIGUOUS_LABELS = flags.DEFINE_list(
  'ambiguous_labels', ['Ambiguous'],
  'mAP: ground truth that is neither right nor wrong.',
)  # fmt: skip
_CLASS_NMS = flags.DEFINE_string(
  'class_nms', 'none', 'mAP: none, greedy or soft NMS within each label.'
)
_NMS_TIOU = flags.DEFINE_float(
  'nms_tiou', 0.6, 'Above which --class_nms drops (greedy) or lowers (soft).'
)
_NMS_SIGMA = flags.DEFINE_float('nms_sigma', 0.5, 'Of --class_nms=soft.')


def main(argv):
  """Evaluates."""
  del argv
  cli.require(proposals=_PROPOSALS.value, annotations=_ANNOTATIONS.value)
  known = *_AR_PROTOCOLS, *_MAP_PROTOCOLS
  if _PROTOCOL.value not in known:
    raise ValueError(
      f'--protocol must be one of {", ".join(known)}, got {_PROTOCOL.value!r}'
    )
  thresholds = _numbers('tiou_thresholds', _TIOU_THRESHOLDS.value, float)
  options = {
    'exclude_labels': _EXCLUDE_LABELS.value,
    'protocol': _PROTOCOL.value,
    'tiou_thresholds': thresholds or None,
  }
  evaluate = _average_precision
  if _PROTOCOL.value in _AR_PROTOCOLS:
    evaluate = _average_recall
  evaluate(options)


def _average_recall(options):
  _only_for('mAP', _AMBIGUOUS_LABELS, _CLASS_NMS, _NMS_TIOU, _NMS_SIGMA)
  ans = _numbers('ans', _ANS.value, int)
  for an in ans:
    if an < 1:
      raise ValueError(f'--ans must be numbers of at least 1, got {an}')
  cli.check_outputs(folders={'output': _OUTPUT.value})
  from cmsn_jax.evaluation import from_files

  _show(from_files, {**options, 'ans': ans, 'fps': _FPS.value})


def _average_precision(options):
  _only_for('AR@AN', _ANS, _FPS)
  methods = 'none', 'greedy', 'soft'
  if _CLASS_NMS.value not in methods:
    raise ValueError(
      f'--class_nms must be one of {", ".join(methods)}, got '
      f'{_CLASS_NMS.value!r}'
    )
  if _CLASS_NMS.value == 'none':
    _only_for('--class_nms=greedy or soft', _NMS_TIOU)
  if _CLASS_NMS.value != 'soft':
    _only_for('--class_nms=soft', _NMS_SIGMA)
  if not 0 <= _NMS_TIOU.value <= 1:
    raise ValueError(f'--nms_tiou must be in 0..1, got {_NMS_TIOU.value}')
  if not _NMS_SIGMA.value > 0:
    raise ValueError(f'--nms_sigma must be above 0, got {_NMS_SIGMA.value}')
  cli.check_outputs(folders={'output': _OUTPUT.value})
  from cmsn_jax.evaluation import detection_files
  from cmsn_jax.suppression import class_wise

  settings = {
    'none': {},
    'greedy': {'tiou': _NMS_TIOU.value},
    'soft': {'threshold': _NMS_TIOU.value, 'sigma': _NMS_SIGMA.value},
  }[_CLASS_NMS.value]

  def suppress(segments, scores, labels):
    return class_wise.suppress(
      segments, scores, labels, method=_CLASS_NMS.value, **settings
    )

  more = {'ambiguous_labels': _AMBIGUOUS_LABELS.value}
  if settings:
    more['suppress'] = suppress
  _show(detection_files, {**options, **more})


def _show(files, options):
  result = files.evaluate_files(
    _PROPOSALS.value,
    _ANNOTATIONS.value,
    _SUBSET.value,
    proposals_in=proposal_flags.PROPOSALS_IN.value,
    proposals_fps=proposal_flags.PROPOSALS_FPS.value,
    **options,
  )
  print(files.table(result), flush=True)
  if _OUTPUT.value:
    files.write(result, _OUTPUT.value)


def _only_for(what, *given):
  """A flag that would have no effect is an error, not a silence."""
  for flag in given:
    if flag.present:
      raise ValueError(
        f'--{flag.name} is for {what} and has no effect with '
        f'--protocol={_PROTOCOL.value}'
      )


def _numbers(name, texts, kind):
  try:
    return tuple(kind(text) for text in texts)
  except ValueError:
    raise ValueError(
      f'--{name} must be numbers with commas between, got {",".join(texts)!r}'
    ) from None


if __name__ == '__main__':
  cli.run(main)
