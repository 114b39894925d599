import signal
import threading

from cmsn_jax import signals


def test_they_are_handled_in_the_block_only():
  seen = []
  before = [signal.getsignal(number) for number in signals.ENDING]
  with signals.handled(lambda number, frame: seen.append(number)):
    for number in signals.ENDING:
      signal.raise_signal(number)
  assert seen == [signal.SIGINT, signal.SIGTERM]
  assert [signal.getsignal(number) for number in signals.ENDING] == before


def test_another_thread_leaves_them():
  before, inside = signal.getsignal(signal.SIGTERM), []

  def work():
    with signals.handled(lambda *_: None):
      inside.append(signal.getsignal(signal.SIGTERM))

  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert inside == [before]
