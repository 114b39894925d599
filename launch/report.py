r"""Writes a page to look at: figures, curves, and each video's timeline.

    python -m launch.report --proposals=proposals.json \
      --annotations=annotations.json --subset=testing --videos=videos/ \
      --stages=stages/ --output=report.html
    python -m launch.report --proposals=new.json --compare=old.json \
      --annotations=annotations.json --output=report.html
    python -m launch.report --workdir=runs/mine --output=report.html

Everything but --proposals (or --workdir) and --output may be left out. The page
is one file that needs no network; only videos stay outside, linked relative to
it. With --workdir it shows the run's held-out videos, and which step loses the
recall: stages, candidates, scores or NMS.
"""

import pathlib
import warnings

from absl import flags

from . import cli, proposal_flags, report_run, video_flags

_PROPOSALS = flags.DEFINE_string(
  'proposals', '', 'Proposals: JSON, or what launch.evaluate reads.'
)
_COMPARE = flags.DEFINE_string(
  'compare', '', 'Proposals of another run, to compare with.'
)
_NAMES = flags.DEFINE_list(
  'names', [], 'What both are called; by default the names of their files.'
)
_ANNOTATIONS = flags.DEFINE_string('annotations', '', 'Ground truth, JSON.')
_SUBSET = flags.DEFINE_string(
  'subset', '', 'Subset of --annotations; by default those with proposals.'
)
_EXCLUDE = flags.DEFINE_list(
  'exclude_labels', [], 'Labels whose ground truth is left out.'
)
_VIDEOS = flags.DEFINE_string('videos', '', 'Folder of <id>.mp4 (.webm, ...).')
_STAGES = flags.DEFINE_string(
  'stages', '', 'Folder of <id>.npz that propose --save_stages wrote.'
)
_OUTPUT = flags.DEFINE_string('output', '', 'The page, HTML.')
_TITLE = flags.DEFINE_string('title', '', 'Heading of the page.')
_PROTOCOL = flags.DEFINE_enum(
  'protocol', None, ['thumos', 'anet', 'top_k'],
  'Of the headline figures; by default top_k, thumos for videos of THUMOS14.',
)  # fmt: skip
_ANS = flags.DEFINE_list(
  'ans', ['10', '20', '50', '100', '200'], 'Numbers of proposals in the table.'
)
_FPS = flags.DEFINE_float(
  'fps', 30.0, "Frames a second of the 'thumos' protocol's frame spans."
)
_MAX_PROPOSALS = flags.DEFINE_integer(
  'max_proposals', 200, "A video's best that the timelines hold."
)
_MAX_SNIPPETS = flags.DEFINE_integer(
  'max_snippets', 20_000, 'Longer stage sequences are averaged down to this.'
)
_TOP = flags.DEFINE_integer(
  'top', 100, "A video's best that count for weak spots."
)
_FRAMES = flags.DEFINE_integer(
  'frames', 0, 'Small frames of each video to put into the page (say 12).'
)
_TIMELINES = flags.DEFINE_string(
  'timelines', '', 'Folder for a picture of each video, if wanted.'
)
_AGREEMENT = flags.DEFINE_string(
  'agreement',
  '',
  'What launch.compare_raters --agreement wrote: the human ceiling beside AR.',
)
_KIND = flags.DEFINE_enum(
  'timeline_kind', 'png', ['png', 'svg', 'pdf'], 'Kind of these pictures.'
)


def main(argv):
  """Writes the page."""
  del argv
  if report_run.WORKDIR.value:
    if _PROPOSALS.value or _STAGES.value:
      raise ValueError(
        '--workdir proposes itself: leave --proposals and --stages out, or it'
      )
  else:
    cli.require(proposals=_PROPOSALS.value)
    if report_run.INPUT.value:
      raise ValueError('--input is what --workdir proposes for; give that too')
  cli.require(output=_OUTPUT.value)
  cli.check_outputs(
    files={'output': _OUTPUT.value}, folders={'timelines': _TIMELINES.value}
  )
  ans = _whole_numbers(_ANS.value)
  names = _names()
  from cmsn_jax.report import page as report_page
  from cmsn_jax.report import render

  video_flags.apply()
  output = pathlib.Path(_OUTPUT.value)
  entries, subset, notes, losses = _entries()
  if _AGREEMENT.value:
    notes.append(_ceiling(_AGREEMENT.value))
  if _VIDEOS.value:
    entries = _with_videos(entries, output)
  elif _FRAMES.value:
    raise ValueError('--frames needs --videos, the folder to take them from')
  page = report_page.page(
    entries,
    protocol=_PROTOCOL.value,
    max_proposals=_MAX_PROPOSALS.value,
    max_snippets=_MAX_SNIPPETS.value,
    diagnostic_top=_TOP.value,
    ans=ans,
    metric_fps=_FPS.value,
    names=names,
  )
  page['losses'] = losses
  given = [
    _PROPOSALS.value or report_run.WORKDIR.value, _COMPARE.value,
    _ANNOTATIONS.value, _STAGES.value, _VIDEOS.value,
  ]  # fmt: skip
  size = render.write(
    output,
    page,
    subset=subset,
    title=_TITLE.value or 'Temporal action proposals',
    sources=tuple(pathlib.Path(name).name for name in given if name),
    notes=tuple(notes),
  )
  print(f'{output}: {len(entries)} videos, {size / 1e6:.1f} MB')
  if _TIMELINES.value:
    from cmsn_jax.report import timelines

    count = timelines.write_folder(_TIMELINES.value, entries, kind=_KIND.value)
    print(f'{_TIMELINES.value}: {count} pictures')


def _names():
  """What the two runs are called."""
  if _NAMES.value:
    if len(_NAMES.value) != 2:
      raise ValueError(
        f'--names must be two, as in new,old, got {",".join(_NAMES.value)}'
      )
    return tuple(_NAMES.value)
  own = pathlib.Path(_PROPOSALS.value or report_run.WORKDIR.value)
  other = pathlib.Path(_COMPARE.value)
  if own.stem != other.stem:
    return own.stem, other.stem
  # runs/new/proposals.json and runs/old/proposals.json.
  return own.parent.name or 'A', other.parent.name or 'B'


def _entries():
  """Entries, their subset, remarks, and what steps lose (None: not known)."""
  from cmsn_jax.evaluation import from_files
  from cmsn_jax.files import proposal_sources
  from cmsn_jax.report import page as report_page

  known = _known()
  other = None
  clock = proposal_flags.clock(known.videos if known else {})
  if _COMPARE.value:
    other = proposal_sources.read(_COMPARE.value, clock)
  if report_run.WORKDIR.value:
    return _run_entries(known, other)
  proposals = proposal_sources.read(_PROPOSALS.value, clock)
  truth, subset, notes = _truth(proposals, known)
  for path, found in (_PROPOSALS.value, proposals), (_COMPARE.value, other):
    many = from_files.repeated(found or {})
    if many and known:
      notes.append(f'{pathlib.Path(path).name}: {many}.')
  entries = report_page.entries(proposals, truth, _STAGES.value or None, other)
  return entries, subset, notes, None


def _run_entries(known, other):
  import dataclasses

  from cmsn_jax.evaluation import step_recall
  from cmsn_jax.report import page as report_page

  truth, rates, found = report_run.diagnosed(known, _SUBSET.value)
  entries = report_page.entries(
    {k: one.proposals for k, one in found.found.items()}, truth, None, other
  )
  entries = [
    dataclasses.replace(
      entry,
      probabilities=found.found[entry.video_id].probabilities,
      feature_fps=rates[entry.video_id],
    )
    for entry in entries
  ]
  notes = []
  if not report_run.INPUT.value:
    notes.append(
      f'Proposals of {pathlib.Path(report_run.WORKDIR.value).name} for the '
      f'{len(entries)} videos that it held out, on which its best epoch was '
      'chosen too.'
    )
  subsets = ', '.join(sorted({video.subset for video in truth.values()}))
  return entries, subsets, notes, step_recall.to_json(found.steps)


def _whole_numbers(texts):
  try:
    return tuple(sorted({int(text) for text in texts}))
  except ValueError:
    raise ValueError(
      f'--ans must be whole numbers like 50,100,200, got {",".join(texts)}'
    ) from None


def _known():
  """The annotations without excluded labels; None where none are given."""
  if not _ANNOTATIONS.value:
    if _SUBSET.value or _EXCLUDE.value:
      raise ValueError('--subset and --exclude_labels need --annotations')
    return None
  from cmsn_jax.annotations import activitynet

  found = activitynet.read(_ANNOTATIONS.value)
  return found.without_labels(_EXCLUDE.value) if _EXCLUDE.value else found


def _truth(proposals, chosen):
  """Ground truth by id (None without annotations), its subset, remarks."""
  if chosen is None:
    return None, '', []
  notes = []
  if _EXCLUDE.value:
    notes.append(f'Left out: labels {", ".join(_EXCLUDE.value)}.')
  if _SUBSET.value:
    return chosen.subset(_SUBSET.value), _SUBSET.value, notes
  subsets = {
    chosen.videos[video_id].subset
    for video_id in proposals
    if video_id in chosen.videos
  }
  if not subsets:
    raise ValueError(
      f'{_PROPOSALS.value} and {_ANNOTATIONS.value} share no video: proposals '
      f'have ids like {next(iter(proposals), None)!r}, annotations like '
      f'{next(iter(chosen.videos))!r}'
    )
  videos = {k: v for k, v in chosen.videos.items() if v.subset in subsets}
  return videos, ', '.join(sorted(subsets)), notes


def _ceiling(path):
  """The sentence that says how far two people agree."""
  from cmsn_jax.files import json_files

  found = json_files.read(path)
  try:
    recalls = [
      f'{pair}: '
      + ', '.join(f'AR@{an} {value:.3f}' for an, value in values.items())
      for pair, values in found['ceiling'].items()
    ]
    return (
      f'Human ceiling, of {found["recordings"]} recordings that two people '
      f'annotated (top_k; kappa {found["kappa"]:.3f}): {"; ".join(recalls)}.'
    )
  except (KeyError, TypeError, AttributeError):
    raise ValueError(
      f'--agreement={path} is not what launch.compare_raters --agreement writes'
    ) from None


def _with_videos(entries, output):
  import dataclasses

  from cmsn_jax.report import media
  from cmsn_jax.report import page as report_page

  files = media.find(_VIDEOS.value, [e.video_id for e in entries])
  result = []
  for entry in entries:
    file = files.get(entry.video_id)
    if file is not None:
      frames = ()
      try:
        if _FRAMES.value:
          frames = tuple(media.strip(file, entry.duration_sec, _FRAMES.value))
      except ValueError as error:
        warnings.warn(
          f'no frames shown: {error}', report_page.ReportWarning, stacklevel=1
        )
      entry = dataclasses.replace(
        entry, url=media.link(file, output), frames=frames
      )
    result.append(entry)
  return result


if __name__ == '__main__':
  cli.run(main)
