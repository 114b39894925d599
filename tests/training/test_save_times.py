from cmsn_jax.training import save_times


class _Clock:
  """Seconds that a test sets."""

  def __init__(self):
    self.now = 0.0

  def __call__(self):
    return self.now


def _due_at(times, clock, until, step=1.0):
  """The seconds at which a save is due, each at no cost."""
  found = []
  while clock.now < until:
    clock.now += step
    if times.due():
      found.append(clock.now)
      times.saved(0.0)
  return found


def test_the_first_comes_after_the_interval_and_then_as_often_as_is_cheap():
  clock = _Clock()
  times = save_times.SaveTimes(60.0, clock)
  assert _due_at(times, clock, 72.0) == [60.0, 65.0, 70.0]


def test_what_is_dear_is_done_no_more_often_than_asked():
  clock = _Clock()
  times = save_times.SaveTimes(60.0, clock)
  clock.now = 60.0
  assert times.due()
  # Half a second held up: two per cent of 25 seconds.
  times.saved(0.5)
  clock.now = 84.0
  assert not times.due()
  clock.now = 85.0
  assert times.due()
  # Minutes held up: still no more is lost than was promised.
  times.saved(200.0)
  clock.now = 144.0
  assert not times.due()
  clock.now = 145.0
  assert times.due()


def test_never_by_time():
  clock = _Clock()
  times = save_times.SaveTimes(0.0, clock)
  clock.now = 1e9
  assert not times.due()


def test_several_processes_follow_a_plan(monkeypatch):
  clock = _Clock()
  monkeypatch.setattr(save_times.jax, 'process_count', lambda: 2)
  monkeypatch.setattr(save_times.processes, 'gather', lambda arrays: arrays)
  times = save_times.SaveTimes(60.0, clock)
  # Two seconds a step: planned at the fourth, for half the interval ahead.
  found = []
  for step in range(1, 41):
    clock.now += 2.0
    if times.due():
      found.append(step)
      times.saved(10.0)
  assert found[0] == 4 + 15
  assert all(2.0 * (b - a) <= 60.0 for a, b in zip([0, *found], found))
