import os
import signal
import threading

import pytest

from cmsn_jax.training import stopping


def test_nobody_asked():
  with stopping.StopSignal() as stop:
    assert not stop.reached() and not stop.reached()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered_until_it_is_asked_for(number):
  with stopping.StopSignal() as stop:
    os.kill(os.getpid(), number)
    assert stop.reached() and stop.reached()


def test_a_second_interrupt_ends_at_once():
  with stopping.StopSignal() as stop:
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.reached()
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)


def test_a_second_sigterm_is_one_too_many_but_no_end():
  with stopping.StopSignal() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.reached()


def test_handlers_are_put_back():
  before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
  with stopping.StopSignal():
    assert signal.getsignal(signal.SIGTERM) != before[0]
  after = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
  assert after == before


def test_handlers_are_put_back_after_an_error():
  before = signal.getsignal(signal.SIGTERM)
  with pytest.raises(ZeroDivisionError):
    with stopping.StopSignal():
      raise ZeroDivisionError
  assert signal.getsignal(signal.SIGTERM) == before


def test_in_another_thread_signals_are_left_to_their_owner():
  before = signal.getsignal(signal.SIGTERM)
  found = []

  def work():
    with stopping.StopSignal() as stop:
      found.append((stop.reached(), signal.getsignal(signal.SIGTERM)))

  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert found == [(False, before)]
