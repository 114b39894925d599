r"""Do corrections where the ranking asks for them pay? Simulated, on real data.

    python -m launch.benchmarks.correcting --data=rat_social --workdir=runs/loop

Begins with the labels of a tenth of the training recordings. In each round a
model proposes for all others, and a simulated annotator, who knows the truth,
goes to the segments that launch.review would show first, or to random ones, until
as many are decided: moved onto an instance, rejected, or added where something
else happens in what was looked at. Then the next model begins with the last one's parameters and learns from the
corrected file, in which all that nobody looked at is ignored. Prints AR on the
validation recordings after each round; what is there already is not repeated.

One member and few steps in place of what the config ships: 1 + 2 x rounds
trainings a seed are meant to fit a laptop's coffee break.
"""

import json
import pathlib
from collections.abc import Callable

import numpy as np
from absl import flags

from launch import cli

_DATA = flags.DEFINE_string(
  'data', '', 'Folder with annotations.json and features/, such as rat_social.'
)
_WORKDIR = flags.DEFINE_string('workdir', '', 'For runs and corrected files.')
_CONFIG = flags.DEFINE_string(
  'config', 'configs/rat_social_plus.py', 'Of the template chain.'
)
_ROUNDS = flags.DEFINE_integer('rounds', 3, 'Rounds of correcting.')
_SEGMENTS = flags.DEFINE_integer('segments', 20, 'Decided in a round.')
_SHARE = flags.DEFINE_float('share', 0.1, 'Of the recordings, labelled before.')
_STEPS = flags.DEFINE_integer('steps', 200, 'Of the first training.')
_WARM_STEPS = flags.DEFINE_integer('warm_steps', 100, 'Of those after it.')
_SEEDS = flags.DEFINE_integer(
  'seeds', 1, 'Repeats, each with other recordings.'
)
_ARMS = flags.DEFINE_list(
  'arms', ['ranked', 'random'], 'Which; two processes may share a workdir.'
)

_ANS = ('10', '50', '100')
# Truth that a segment hardly touches is not what it means.
_TOUCHES = 0.05


def main(argv):
  """Runs the rounds that are missing and prints the table."""
  del argv
  cli.require(data=_DATA.value, workdir=_WORKDIR.value)
  cli.use_compilation_cache()
  from cmsn_jax.annotations import activitynet

  truth = activitynet.read(pathlib.Path(_DATA.value) / 'annotations.json')
  rows = []
  for seed in range(_SEEDS.value):
    rows += _one_seed(truth, pathlib.Path(_WORKDIR.value), seed)
  _print(rows)
  return 0


def _one_seed(truth, workdir, seed):
  rng = np.random.default_rng(seed)
  training = list(truth.subset('training'))
  known = set(
    rng.permutation(training)[: max(1, round(_SHARE.value * len(training)))]
  )
  first = workdir / f'seed{seed}' / 'start'
  _begin(first / 'corrected.json', truth, known)
  rows = [
    _trained(first, None, seed, {'arm': 'start', 'round': 0, 'segments': 0})
  ]
  for arm in _ARMS.value:
    last = first
    for number in range(1, _ROUNDS.value + 1):
      folder = workdir / f'seed{seed}' / f'{arm}{number}'
      rows.append(_round(folder, last, arm, number, truth, seed))
      last = folder
  return rows


def _begin(path, truth, known):
  """The truth of the known and the validation recordings; else ignored."""
  from cmsn_jax.files import replacing

  database = {}
  for name, video in truth.videos.items():
    whole = name in known or video.subset == 'validation'
    rows = zip(video.segments.tolist(), video.labels) if whole else ()
    database[name] = {
      'subset': video.subset,
      'duration': video.duration_sec,
      'feature_fps': video.feature_fps,
      'annotations': [{'segment': s, 'label': label} for s, label in rows],
      'ignore': [] if whole else [[0.0, video.duration_sec]],
    }
  with replacing.file(path) as file:
    json.dump({'version': '', 'database': database}, file)


def _round(folder, last, arm, number, truth, seed):
  """Corrects proposals of the last run, trains on the result."""
  done = folder / 'row.json'
  if done.is_file():
    return json.loads(done.read_text())
  import cmsn_jax
  from cmsn_jax.review import inputs, session

  model = cmsn_jax.load(last / 'run')
  pool = [
    name
    for name in truth.subset('training')
    if name not in _whole(last / 'corrected.json')
  ]
  features = pathlib.Path(_DATA.value) / 'features'
  found = {
    name: model.propose(
      np.load(features / f'{name}.npy'),
      feature_fps=truth.videos[name].feature_fps,
    )
    for name in pool
  }
  given = inputs.gather(found, annotations=last / 'corrected.json')
  folder.mkdir(parents=True, exist_ok=True)
  for old in folder.glob('corrected.json*'):
    old.unlink()
  opened = session.Session(given, folder / 'corrected.json')
  choose = (
    _best if arm == 'ranked' else _any_of(np.random.default_rng([seed, number]))
  )
  looks = hits = decided = 0
  while decided < _SEGMENTS.value:
    hit, added = correct(opened, *choose(opened), truth.videos)
    looks, hits, decided = looks + 1, hits + hit, decided + 1 + added
  looked = _looked_sec(opened)
  opened.close()
  row = {
    'arm': arm,
    'round': number,
    'segments': number * _SEGMENTS.value,
    'decided': decided,
    'looks': looks,
    'hits': hits,
    'looked_min': round(looked / 60, 1),
  }
  return _trained(folder, last, seed, row)


def _best(opened):
  """What the page would show next, of all recordings."""
  ((recording_id, ranked),) = opened.next_segments(1)
  return recording_id, ranked.key


def _any_of(rng: np.random.Generator) -> Callable:
  """An undecided proposal at random."""

  def choose(opened):
    keys = [
      (recording_id, key)
      for recording_id, recording in opened.recordings.items()
      for key, item in recording.items.items()
      if item.status == 'open'
    ]
    return keys[rng.integers(len(keys))]

  return choose


def correct(opened, recording_id, key, truth):
  """What a person who knows the truth does with one segment.

  Its borders become those of the instance it fits best, with its name, unless
  that is annotated already; without one it is rejected. Then whatever else
  happens in what was looked at is added.

  Args:
    opened: the review, a `session.Session`.
    recording_id: of the segment.
    key: of the segment.
    truth: `activitynet.Video` by id.
  Returns:
    (whether it was an instance, how many others were added).
  """
  from cmsn_jax import segments as segments_lib
  from cmsn_jax.review import edits, output

  video = truth[recording_id]
  recording = opened.recordings[recording_id]

  def act(name, **more):
    opened.act(
      'simulated',
      {'recording': recording_id, 'action': name, 'by': 'simulated', **more},
    )

  def missing():
    kept = {item[:3] for item in output.kept(recording)}
    return [
      (start, end, label)
      for (start, end), label in zip(video.segments.tolist(), video.labels)
      if (start, end, label) not in kept
    ]

  item = recording.items[key]
  left = missing()
  spans = np.array([row[:2] for row in left]).reshape(-1, 2)
  tiou = segments_lib.tiou(np.array([item[:2]]), spans)[0]
  hit = bool(len(left) and tiou.max() >= _TOUCHES)
  if hit:
    start, end, label = left[int(tiou.argmax())]
    act('change', item=key, segment=[start, end])
    act('label', item=key, label=label)
  else:
    act('reject', item=key)
  view = output.context(recording.items[key])
  before = len(recording.items)
  reached = edits.union([view])
  todo = missing()
  while todo:
    seen = [
      row
      for row in todo
      if any(row[0] < end and start < row[1] for start, end in reached)
    ]
    for start, end, label in seen:
      act('add', segment=[start, end], label=label)
    reached = edits.union([*reached, *(row[:2] for row in seen)])
    todo = missing() if seen else []
  return hit, len(recording.items) - before


def _whole(path):
  """Recordings of which a corrected file leaves nothing to be looked at."""
  database = json.loads(path.read_text())['database']
  return {k for k, v in database.items() if not v.get('ignore')}


def _looked_sec(opened):
  from cmsn_jax.review import output

  return sum(
    end - start
    for recording_id, source in opened.given.sources.items()
    if any(item.source == 'proposal' for item in source.items.values())
    for start, end in output.looked_at(opened.recordings[recording_id], source)
  )


def _trained(folder, last, seed, row):
  """The row with the AR of a model that learnt from the folder's file."""
  done = folder / 'row.json'
  if done.is_file():
    return json.loads(done.read_text())
  from cmsn_jax import api
  from cmsn_jax.files import replacing
  from cmsn_jax.training import config_checks, setup

  config = api._config_of(_CONFIG.value)
  with config.unlocked():
    config.data.annotations = str(folder / 'corrected.json')
    config.data.features = str(pathlib.Path(_DATA.value) / 'features')
    config.train.seed = seed
    config.train.batch_per_device = 8
    config.template.members = 1
    # What one member says needs nobody to learn it.
    config.template.student_steps = 0
    config.template.steps = _WARM_STEPS.value if last else _STEPS.value
    if last:
      config.train.init_from = str((last / 'run').absolute())
  config_checks.check(config)
  result = setup.run(config, folder / 'run', quiet=cli.quiet())
  row |= {f'ar_{an}': float(result.metrics[f'ar_{an}']) for an in _ANS}
  with replacing.file(done) as file:
    json.dump(row, file)
  print(row, flush=True)
  return row


def _print(rows):
  """Means over the seeds, as a table in Markdown."""
  print(
    '\n| looked at | segments | decided | looks | hits | looked at, min | AR@10 | AR@50 | AR@100 |'
  )
  print('|---|---|---|---|---|---|---|---|---|')
  groups = {}
  for row in rows:
    groups.setdefault((row['arm'], row['segments']), []).append(row)
  for (arm, segments), found in groups.items():
    cells = [
      f'{np.mean([row.get(name, 0) for row in found]):{form}}'
      for name, form in (
        ('decided', '.0f'), ('looks', '.0f'), ('hits', '.0f'), ('looked_min', '.1f'),
        *((f'ar_{an}', '.3f') for an in _ANS),
      )
    ]  # fmt: skip
    print(f'| {arm} | {segments} | {" | ".join(cells)} |')


if __name__ == '__main__':
  cli.run(main)
