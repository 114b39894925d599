"""CalMS21: JSON with a class number for every frame of two mice, 30 a second."""

from cmsn_jax.annotations import checks, frame_labels, imported, sample
from cmsn_jax.files import json_files

FPS = 30.0  # Sun et al., The Multi-Agent Behavior Dataset, 2021


def recognise(file: sample.Sample) -> str | None:
  """Why a file is of this format; None where it is not."""
  if not isinstance(file.document, dict):
    return None
  for group in file.document.values():
    for entry in list(group.values())[:1] if isinstance(group, dict) else ():
      if (
        isinstance(entry, dict)
        and isinstance(entry.get('annotations'), list)
        and isinstance(entry.get('metadata'), dict)
        and 'vocab' in entry['metadata']
      ):
        return 'CalMS21: sequences with a vocabulary and a number a frame'
  return None


def read(file: sample.Sample, options: imported.Options) -> imported.Imported:
  """Runs of frames of one class; "other" is left out."""
  result = imported.Imported(file.path, 'frames')
  if not isinstance(file.document, dict):
    raise checks.AnnotationError(
      f'{file.path}: expected an object of sequences'
    )
  for group in file.document.values():
    for name, entry in group.items() if isinstance(group, dict) else ():
      _sequence(name, entry, result, options)
  if options.fps is None:
    result.notes.append(f'frames are {FPS:g} a second, as in CalMS21')
  return result


def _sequence(name: str, entry: object, result, options) -> None:
  numbers = entry.get('annotations') if isinstance(entry, dict) else None
  metadata = entry.get('metadata') if isinstance(entry, dict) else None
  vocab = metadata.get('vocab') if isinstance(metadata, dict) else None
  if not isinstance(numbers, list) or not isinstance(vocab, dict):
    result.wrong.append(
      f'{name[:80]}: found {json_files.shown(entry)}, expected annotations and a '
      'vocabulary'
    )
    return
  words = {str(number): word for word, number in vocab.items()}
  recording = result.recording(name)
  recording.fps = options.fps or FPS
  recording.num_frames = len(numbers)
  parts = {part.lower() for part in name.replace('\\', '/').split('/')}
  for part in ('train', 'test'):
    if part in parts:
      recording.subset = checks.SUBSET_NAMES[part]
  labels = [str(number) for number in numbers]
  for first, last, number in frame_labels.runs(labels, range(len(labels)), 1.0):
    where = f'frames {first}-{last}'
    if number not in words:
      result.bad.append(
        f'{name[:80]}, {where}: found the class {number[:20]}, not in the vocabulary'
      )
    elif words[number] != 'other' and not frame_labels.is_background(
      words[number], options.background
    ):
      result.add(name, first, last + 1, words[number], where)
