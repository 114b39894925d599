r"""Cuts proposals out of their videos: clips, subtitles, contact sheets, a film.

    python -m launch.clips --proposals=proposals.json --videos=videos/ \
      --top=10 --min_score=.3 --output=clips/
    python -m launch.clips --proposals=proposals.json --videos=videos/ \
      --label=rear,groom --non_overlapping --write=montage --output=clips/

--output gets clips.csv (what is where), <id>/<rank>_<start>s.mp4 a proposal,
<id>.srt and <id>.vtt, <id>.png (first, middle and last frame of each), or
montage.mp4, all of them one after the other. Frames are exact: those of the
segment, from the player's time zero. There is no sound.
"""

import csv
import dataclasses
import pathlib
import warnings

from absl import flags, logging

from . import cli, final_flags, proposal_flags, video_flags

_KINDS = ('clips', 'montage', 'subtitles', 'sheets')

_PROPOSALS = flags.DEFINE_string(
  'proposals', '', 'Proposals: JSON, or what launch.evaluate reads.'
)
_ANNOTATIONS = flags.DEFINE_string(
  'annotations', '', 'Durations and frames a second of the videos, if needed.'
)
_VIDEOS = flags.DEFINE_string('videos', '', 'Folder of <id>.mp4 (.webm, ...).')
_OUTPUT = flags.DEFINE_string('output', '', 'Folder to be filled.')
_WRITE = flags.DEFINE_list(
  'write',
  ['clips', 'subtitles', 'sheets'],
  f'What: any of {", ".join(_KINDS)}.',
)
_TOP = flags.DEFINE_integer('top', 10, "A recording's best; 0: all.")
_LABEL = flags.DEFINE_list(
  'label', [], 'Only proposals with one of these labels.'
)
_HEIGHT = flags.DEFINE_integer(
  'height', 480, "The picture's height at most, in pixels; 0: the video's own."
)
_CONTEXT_SEC = flags.DEFINE_float(
  'context_sec', 0.0, 'Seconds shown before and after each segment.'
)
_CAPTIONS = flags.DEFINE_bool(
  'captions', True, 'A line of text below the film.'
)
_ORDER = flags.DEFINE_enum(
  'order', 'time', ['time', 'score'],
  'Of the montage: recording by recording, or the best of all first.',
)  # fmt: skip


def main(argv):
  """Cuts."""
  del argv
  cli.require(
    proposals=_PROPOSALS.value, videos=_VIDEOS.value, output=_OUTPUT.value
  )
  cli.check_outputs(folders={'output': _OUTPUT.value})
  unknown = sorted(set(_WRITE.value) - set(_KINDS))
  if unknown or not _WRITE.value:
    raise ValueError(
      f'--write must be some of {", ".join(_KINDS)}, got {unknown}'
    )
  if _TOP.value < 0 or _HEIGHT.value < 0 or _CONTEXT_SEC.value < 0:
    raise ValueError('--top, --height and --context_sec must be at least 0')
  from cmsn_jax.report import media

  video_flags.apply()
  limits = final_flags.limits()
  proposals = _labelled(_read())
  files = media.find(_VIDEOS.value, proposals)
  output = pathlib.Path(_OUTPUT.value)
  done = _Cutting(output, files)
  chosen = done.choose(proposals, limits)
  total = sum(map(len, chosen.values()))
  if not total and not done.failures:
    raise ValueError(
      'no proposal is left to be shown; lower --min_score, or another --label'
    )
  done.write(chosen)
  print(
    f'{output}: {total} proposals of {len(chosen)} recordings, '
    f'{", ".join(_WRITE.value)}'
  )
  if done.failures:
    for video_id, error in done.failures.items():
      print(f'failed: {video_id}: {error}')
    raise cli.Failed(
      f'{len(done.failures)} of {len(proposals)} recordings failed, the others '
      'are done'
    )
  return 0


def _read():
  from cmsn_jax.annotations import activitynet
  from cmsn_jax.files import proposal_sources

  known = {}
  if _ANNOTATIONS.value:
    known = activitynet.read(_ANNOTATIONS.value).videos
  return proposal_sources.read(_PROPOSALS.value, proposal_flags.clock(known))


def _labelled(proposals):
  """Those with one of the labels that are asked for."""
  import numpy as np

  if not _LABEL.value:
    return proposals
  known = {x for found in proposals.values() for x in found.labels or ()}
  wrong = sorted(set(_LABEL.value) - known)
  if wrong:
    raise ValueError(
      f'--label={",".join(_LABEL.value)}: {_PROPOSALS.value} has no proposal '
      f'labelled {wrong[0]!r}; its labels are '
      f'{", ".join(sorted(known)[:20]) or "none at all"}'
    )
  return {
    video_id: found.take(
      np.array(
        [k for k, x in enumerate(found.labels or ()) if x in _LABEL.value], int
      )
    )
    for video_id, found in proposals.items()
  }


class _Cutting:
  """Recordings, one after the other; a bad one is left out and told."""

  def __init__(self, output, files):
    self._output, self._files = output, files
    self._infos = {}
    self.failures = {}
    self._rows = []

  def choose(self, proposals, limits):
    """Clips by recording that can be opened, best first."""
    import collections

    from cmsn_jax.report import clips, palette
    from cmsn_jax.suppression import final_list

    counts = collections.Counter(
      x for found in proposals.values() for x in found.labels or ()
    )
    colours = {
      label: palette.of_label(k)
      for k, (label, _) in enumerate(counts.most_common())
    }
    chosen = {}
    for video_id, found in proposals.items():
      info = self._opened(video_id)
      if info is None:
        continue
      found = self._there(found, info)
      kept = final_list.select(
        found.segments, found.scores, info.duration_sec, limits
      )
      found = found.take(kept[: _TOP.value or None])
      labels = found.labels or [''] * len(found.scores)
      rows = zip(found.segments.tolist(), found.scores.tolist(), labels)
      chosen[video_id] = [
        clips.Clip(
          video_id, rank, start, end, score, label,
          colours.get(label, palette.PROPOSAL),
        )
        for rank, ((start, end), score, label) in enumerate(rows, start=1)
      ]  # fmt: skip
    return {k: v for k, v in chosen.items() if v}

  def _there(self, found, info):
    """Without those behind the end of a recording that may be cut off."""
    import numpy as np

    from cmsn_jax.report import clips
    from cmsn_jax.video import video_files

    if not video_files.damage_allowed(None):
      return found
    there = [clips.begins_within(x, info) for x in found.segments[:, 0]]
    if not all(there):
      warnings.warn(
        f'{info.path}: ends at {info.duration_sec:.2f} s; {there.count(False)} '
        f'of its {len(there)} proposals begin later and are left out',
        video_files.VideoWarning,
        stacklevel=2,
      )
    return found.take(np.flatnonzero(there))

  def _opened(self, video_id):
    from cmsn_jax.video import decoding, video_files

    try:
      if video_id not in self._files:
        raise ValueError(f'{_VIDEOS.value} has no video of this name')
      info = decoding.probe(self._files[video_id])
      if video_files.damage_allowed(None):
        # More may be promised than is there: all is decoded once.
        count = decoding.count(info.path, info.fps)
        info = dataclasses.replace(info, duration_sec=count / info.fps)
      self._infos[video_id] = info
      return info
    except (ValueError, OSError) as error:
      self._fail(video_id, str(error))

  def _fail(self, video_id, message):
    self.failures.setdefault(video_id, message)
    logging.error('%s: %s', video_id, message)

  def write(self, chosen):
    """Writes what is asked for."""
    from cmsn_jax import progress

    wanted = set(_WRITE.value)
    total = sum(map(len, chosen.values()))
    passes = len(wanted & {'clips', 'montage', 'sheets'})
    with progress.bar(
      total=total * passes, desc='cut', unit='proposal', quiet=cli.quiet()
    ) as bar:
      for video_id, clips in chosen.items():
        try:
          self._recording(video_id, clips, wanted, bar)
        except ValueError as error:
          self._fail(video_id, str(error))
      if 'montage' in wanted and chosen:
        self._montage(chosen, bar)
    if 'clips' in wanted:
      self._table()

  def _recording(self, video_id, clips, wanted, bar):
    from cmsn_jax.report import contact_sheet

    if 'subtitles' in wanted:
      self._subtitles(video_id, clips)
    if 'clips' in wanted:
      for clip in clips:
        self._clip(clip)
        bar.update()
    if 'sheets' in wanted:
      contact_sheet.write(
        self._output / f'{video_id}.png', self._infos[video_id], clips,
        f'{video_id}  ·  best {len(clips)}',
      )  # fmt: skip
      bar.update(len(clips))

  def _subtitles(self, video_id, clips):
    from cmsn_jax.files import event_formats

    events = sorted(
      event_formats.Event(
        c.start_sec, c.end_sec, c.label or event_formats.NO_LABEL, c.score
      )
      for c in clips
    )
    for kind in ('srt', 'webvtt'):
      event_formats.write(str(self._output), kind, {video_id: events}, {})

  def _clip(self, clip):
    from cmsn_jax.report import clips

    info = self._infos[clip.video_id]
    name = f'{clip.rank:03}_{clip.start_sec:.2f}s.mp4'
    file = pathlib.Path(clip.video_id) / name
    count = clips.write(
      self._output / file, clip, info, most_rows=_HEIGHT.value or None,
      context_sec=_CONTEXT_SEC.value, captioned=_CAPTIONS.value,
    )  # fmt: skip
    first, stop = clips.frame_span(clip.start_sec, clip.end_sec, info)
    self._rows.append(
      [
        clip.video_id, clip.rank, clip.start_sec, clip.end_sec, clip.score,
        clip.label, file.as_posix(), first, stop - first, count, info.fps,
      ]
    )  # fmt: skip

  def _table(self):
    from cmsn_jax.files import replacing

    with replacing.file(self._output / 'clips.csv') as file:
      rows = csv.writer(file, lineterminator='\n')
      rows.writerow(
        [
          'video', 'rank', 'start', 'end', 'score', 'label', 'file',
          'first_frame', 'num_frames', 'frames_in_file', 'fps',
        ]
      )  # fmt: skip
      rows.writerows(self._rows)

  def _montage(self, chosen, bar):
    from cmsn_jax.report import clips

    by_time = [
      sorted(own, key=lambda c: c.start_sec) for own in chosen.values()
    ]
    order = [clip for own in by_time for clip in own]
    if _ORDER.value == 'score':
      order.sort(key=lambda c: -c.score)
    infos = [self._infos[video_id] for video_id in chosen]
    # The largest of the pictures; the others get black edges.
    sizes = [clips.picture_size(x, _HEIGHT.value or None) for x in infos]
    clips.write_montage(
      self._output / 'montage.mp4', order, self._infos.__getitem__,
      size=max(sizes), fps=max(x.fps for x in infos),
      context_sec=_CONTEXT_SEC.value, captioned=_CAPTIONS.value,
      on_error=self._fail, on_clip=bar.update,
    )  # fmt: skip


if __name__ == '__main__':
  cli.run(main)
