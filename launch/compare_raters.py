r"""Says how far two annotators of the same recordings agree, and merges them.

    python -m launch.compare_raters --first=anna.json --second=ben.json
    python -m launch.compare_raters --source=labels.csv --column=annotator \
      --merge=mean --output=agreed.json --agreement=agreement.json

What one of them reaches as if it were a model's proposals for the other is the
human ceiling of these recordings; launch.report --agreement shows it beside AR.
"""

import itertools
import json

from absl import flags

from . import cli, video_flags

_FIRST = flags.DEFINE_string('first', '', 'Annotations of one, of any format.')
_SECOND = flags.DEFINE_string('second', '', 'Annotations of the other.')
_SOURCE = flags.DEFINE_string(
  'source', '', 'Instead of two files: one table of both, with --column.'
)
_COLUMN = flags.DEFINE_string(
  'column', '', 'Column of --source that names the annotator.'
)
_RATERS = flags.DEFINE_list(
  'raters', [], 'The two to compare, where --column has more.'
)
_DURATIONS = flags.DEFINE_string(
  'durations', '', 'Durations of the recordings, if the files do not say.'
)
_ANS = flags.DEFINE_list('ans', ['10', '50', '100'], 'Numbers of instances.')
_MERGE = flags.DEFINE_enum(
  'merge',
  'mean',
  ['union', 'both', 'mean'],
  'What --output gets of two instances that are one event: the span that either '
  'marked, that both marked, or mean borders. union keeps what one alone marked.',
)
_OUTPUT = flags.DEFINE_string(
  'output', '', 'One set of annotations, if wanted.'
)
_AGREEMENT = flags.DEFINE_string(
  'agreement', '', 'The figures as JSON, if wanted.'
)


def main(argv):
  """Compares."""
  del argv
  cli.check_outputs(
    files={'output': _OUTPUT.value, 'agreement': _AGREEMENT.value}
  )
  from cmsn_jax.annotations import activitynet, agreement
  from cmsn_jax.files import replacing

  ans = tuple(sorted(cli.whole_numbers('ans', _ANS.value)))
  (name, first), (other, second) = _raters()
  found = agreement.compare(first.videos, second.videos)
  ceiling = {
    f'{a} against {b}': _recall(videos, truth, ans)
    for (a, videos), (b, truth) in itertools.permutations(
      ((name, first), (other, second)), 2
    )
  }
  print(_text(name, other, found, ceiling))
  if _AGREEMENT.value:
    record = {
      'raters': [name, other],
      'recordings': found.recordings,
      'instances': list(found.instances),
      'pairs': found.pairs,
      'matched': {str(k): v for k, v in found.matched.items()},
      'label_agreement': found.label_agreement if found.pairs else None,
      'kappa': found.kappa,
      'border_sec': list(found.border_sec) if found.pairs else None,
      'ceiling': ceiling,
    }
    with replacing.file(_AGREEMENT.value) as file:
      json.dump(record, file, indent=2)
  if _OUTPUT.value:
    merged = agreement.merge(first, second, _MERGE.value)
    activitynet.write(_OUTPUT.value, merged)
    count = sum(len(video.segments) for video in merged.videos.values())
    print(
      f'{_OUTPUT.value}: {count} instances in {len(merged.videos)} recordings '
      f'({_MERGE.value})'
    )
  return 0


def _raters():
  """((name, annotations), (name, annotations))."""
  if _SOURCE.value:
    cli.require(column=_COLUMN.value)
    names = _RATERS.value or _names(_SOURCE.value, _COLUMN.value)
    if len(names) != 2:
      raise ValueError(
        f'{_SOURCE.value}: column {_COLUMN.value!r} has {len(names)} annotators '
        f'({", ".join(names)}); choose two: --raters=A,B'
      )
    return [
      (name, _read(_SOURCE.value, {_COLUMN.value: (name,)})) for name in names
    ]
  cli.require(first=_FIRST.value, second=_SECOND.value)
  return [
    ('first', _read(_FIRST.value, {})),
    ('second', _read(_SECOND.value, {})),
  ]


def _names(path, column):
  from cmsn_jax.annotations import columns
  from cmsn_jax.files import csv_tables

  table = csv_tables.read(path)
  index = columns.named(table, column, '--column')
  return sorted({row.cells[index] for row in table.rows} - {''})


def _read(path, where):
  from cmsn_jax.annotations import imported, importers
  from cmsn_jax.annotations import lengths as video_lengths

  lengths = None
  if _DURATIONS.value:
    video_flags.apply()
    lengths = video_lengths.read(_DURATIONS.value, None)
  return importers.convert(
    path, lengths=lengths, options=imported.Options(where=where)
  ).annotations


def _recall(videos, truth, ans):
  """AR of one's instances as proposals for the other's, `top_k`."""
  import numpy as np

  from cmsn_jax.annotations import agreement
  from cmsn_jax.evaluation import metrics

  pairs = {
    name: agreement.looked_at(videos.videos[name], one)
    for name, one in truth.videos.items()
    if name in videos.videos
  }
  found = metrics.evaluate(
    {
      name: (a.segments, np.ones(len(a.segments)))
      for name, (a, _) in pairs.items()
    },
    {name: b.segments for name, (_, b) in pairs.items()},
    protocol='top_k',
    ans=ans,
  )
  return {str(an): found.ar_at_an[an] for an in ans}


def _text(name, other, found, ceiling):
  lines = [
    f'{found.recordings} recordings rated by both: {name} has '
    f'{found.instances[0]} instances, {other} {found.instances[1]}',
    f'{found.pairs} pairs are one event; share of all instances matched at '
    + ', '.join(f'tIoU {k:g}: {v:.3f}' for k, v in found.matched.items()),
  ]
  if found.pairs:
    start, end = found.border_sec
    lines.append(
      f'same label in {found.label_agreement:.1%} of the pairs; starts differ by '
      f'{start:.3g} s, ends by {end:.3g} s (median)'
    )
  lines.append(f'kappa of the label at each moment: {found.kappa:.3f}')
  for pair, recall in ceiling.items():
    values = ', '.join(f'AR@{an} {value:.3f}' for an, value in recall.items())
    lines.append(f'{pair} (top_k, the human ceiling): {values}')
  return '\n'.join(lines)


if __name__ == '__main__':
  cli.run(main)
