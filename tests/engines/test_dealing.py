import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsn_jax.engines import dealing, jobs


class Simulated(dealing.Pool):
  """Workers in simulated time: a second of video takes 1 / speed.

  `deaths` are videos that kill who works on them, so many times; slots join
  at the time that `joins` says, and never start where `broken`.
  """

  def __init__(self, speeds, deaths=None, joins=None, broken=(), seconds=None):
    super().__init__()
    self.speeds, self.deaths = speeds, dict(deaths or {})
    self.joins, self.broken = joins or {}, broken
    self.seconds, self.now = seconds, 0.0
    self.agenda, self.sent, self.closed = [], [], False

  def slots(self):
    return [s for s in self.speeds if self.joins.get(s, 0.0) <= self.now]

  def start(self, slot):
    if slot in self.broken:
      event = dealing.Lost(slot, 'it does not start')
    else:
      event = dealing.Finished(slot)
    self.agenda.append((self.now, len(self.agenda), event))

  def send(self, slot, video_ids):
    self.sent.append((slot, tuple(video_ids)))
    end = self.now
    for video_id in video_ids:
      end += self.seconds[video_id] / self.speeds[slot]
      if self.deaths.get(video_id, 0):
        self.deaths[video_id] -= 1
        event = dealing.Lost(slot, f'{video_id} was too much')
        break
    else:
      outcomes = [jobs.Outcome(v, slot) for v in video_ids]
      event = dealing.Finished(slot, outcomes)
    self.agenda.append((end, len(self.sent), event))

  def wait(self, timeout_sec):
    if not self.agenda:
      self.now += timeout_sec
      return []
    first = min(self.agenda, key=lambda entry: entry[:2])
    self.agenda.remove(first)
    self.now = max(self.now, first[0])
    return [first[2]]

  def reached(self):
    return {}

  def close(self):
    self.closed = True

  def place(self, slot):
    return slot.split('/')[0]


def _deal(pool, **options):
  return list(dealing.deal(pool.seconds, pool, **options))


def test_the_longest_go_first_and_workers_end_together():
  seconds = {f'v{k:03d}': float(1 + k % 50) for k in range(400)}
  pool = Simulated({'a': 1.0, 'b': 1.0, 'c': 4.0}, seconds=seconds)
  found = _deal(pool)
  assert sorted(o.video_id for o in found) == sorted(seconds)
  assert pool.sent[0][1][0] == 'v049'  # the first of the longest
  # A worker of four times the speed takes four of the six parts of the work.
  share = sum(seconds[o.video_id] for o in found if o.value == 'c')
  total = sum(seconds.values())
  assert abs(share / total - 4 / 6) < 0.03
  # All together need 1/6 of the time of one, and at most a video more.
  assert pool.now < total / 6 * 1.02 + 2
  # Few messages for many videos, but the last ones alone.
  assert len(pool.sent) < 150 and len(pool.sent[-1][1]) == 1


def test_batches_that_cost_something_are_few():
  seconds = {f'v{k:03d}': 2.0 for k in range(200)}
  pool = Simulated({'a': 1.0, 'b': 1.0}, seconds=seconds)
  assert len(_deal(pool, batch_sec=60.0)) == 200
  sizes = [len(batch) for _, batch in pool.sent]
  # 200 s a worker; without it there would be more than 30 batches.
  assert len(sizes) <= 8 and min(sizes[:-1]) >= 20
  # Where that is much for one, all have a part.
  pool = Simulated(dict.fromkeys('abcd', 1.0), seconds=seconds)
  few = dict(list(seconds.items())[:40])
  pool.seconds = few
  assert len(_deal(pool, batch_sec=60.0)) == 40
  assert [len(batch) for _, batch in pool.sent] == [10] * 4
  # Clips of less than a second: more of them than would go at once otherwise.
  pool = Simulated({'a': 1.0}, seconds=dict.fromkeys(seconds, 0.5))
  _deal(pool, batch_sec=60.0)
  assert len(pool.sent[0][1]) == 120


def test_what_a_dead_worker_had_is_tried_elsewhere_alone():
  seconds = {'long': 50.0, 'x': 10.0, 'y': 9.0, 'z': 8.0}
  pool = Simulated(
    {'m1/0': 1.0, 'm1/1': 1.0, 'm2/0': 1.0}, {'long': 1}, seconds=seconds
  )
  found = {o.video_id: o for o in _deal(pool)}
  assert all(o.error is None for o in found.values()) and len(found) == 4
  places = [pool.place(slot) for slot, batch in pool.sent if 'long' in batch]
  assert len(places) == 2 and places[0] != places[1]


def test_a_video_that_kills_its_workers_is_given_up_and_named():
  seconds = {'poison': 5.0, **{f'v{k}': 1.0 for k in range(20)}}
  pool = Simulated({'a': 1.0, 'b': 1.0}, {'poison': 99}, seconds=seconds)
  found = {o.video_id: o for o in _deal(pool, tries=3)}
  assert len(found) == 21
  assert found.pop('poison').error == (
    'its worker was lost 3 times, the last one: poison was too much'
  )
  assert all(o.error is None for o in found.values())
  assert [batch for _, batch in pool.sent if 'poison' in batch][1:] == [
    ('poison',), ('poison',),
  ]  # fmt: skip


def test_a_worker_that_joins_late_is_used():
  seconds = {f'v{k}': 1.0 for k in range(100)}
  pool = Simulated(
    {'a': 1.0, 'late': 3.0}, joins={'late': 20.0}, seconds=seconds
  )
  found = _deal(pool)
  assert sum(o.value == 'late' for o in found) > 40


def test_where_workers_do_not_start_others_do_the_work_or_it_ends():
  seconds = {f'v{k}': 1.0 for k in range(9)}
  pool = Simulated({'a': 1.0, 'b': 1.0}, broken=('b',), seconds=seconds)
  assert {o.value for o in _deal(pool)} == {'a'}
  pool = Simulated({'a': 1.0, 'b': 1.0}, broken=('a', 'b'), seconds=seconds)
  with pytest.raises(
    dealing.EngineError, match='no worker is left for 9 videos: it does not st'
  ):
    _deal(pool)
  with pytest.raises(dealing.EngineError, match='there is no place for one'):
    _deal(Simulated({}, seconds=seconds))


def test_a_full_disk_ends_the_run():
  class Full(Simulated):
    def send(self, slot, video_ids):
      error = OSError(errno.ENOSPC, 'No space left on device')
      self.agenda.append((self.now, 0, dealing.Lost(slot, 'full', error)))

  with pytest.raises(OSError, match='No space left'):
    _deal(Full({'a': 1.0}, seconds={'v': 1.0, 'w': 1.0}))


def test_no_more_workers_than_there_is_work():
  pool = Simulated({str(k): 1.0 for k in range(64)}, seconds={'v': 1, 'w': 2})
  _deal(pool)
  assert len({slot for slot, _ in pool.sent}) == 2 >= len(pool.workers)


@settings(max_examples=60)
@given(
  st.lists(st.floats(0.04, 1e4), max_size=40),
  st.lists(st.floats(0.1, 10), min_size=1, max_size=5),
  st.dictionaries(st.integers(0, 39), st.integers(0, 5), max_size=8),
  st.integers(1, 4),
)
def test_every_video_has_one_outcome_whatever_dies(
  durations, speeds, deaths, tries
):
  seconds = {str(k): value for k, value in enumerate(durations)}
  deaths = {str(k): n for k, n in deaths.items() if str(k) in seconds}
  pool = Simulated(
    {str(k): value for k, value in enumerate(speeds)}, deaths, seconds=seconds
  )
  found = _deal(pool, tries=tries)
  assert sorted(o.video_id for o in found) == sorted(seconds)
  for outcome in found:
    if not deaths:
      assert outcome.error is None
    if deaths.get(outcome.video_id, 0) >= tries:
      assert outcome.error
