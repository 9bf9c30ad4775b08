"""Signals as a question: asked for once, and the former handlers come back."""

import os
import signal
import threading

import pytest

from gon_jax.cli import signals
from gon_jax.cli.signals import stop_requested

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_signal_is_a_request_and_the_second_ends_the_process(number, monkeypatch):
    seen = []
    monkeypatch.setattr(signals, "leave_at_once", seen.append)
    former = signal.signal(number, lambda *_: seen.append("former"))
    try:
        before = [signal.getsignal(n) for n in NUMBERS]
        with stop_requested() as should_stop:
            assert not should_stop()
            os.kill(os.getpid(), number)
            assert should_stop() and should_stop.number == number and not seen
            os.kill(os.getpid(), number)
            assert seen == [number]
        assert [signal.getsignal(n) for n in NUMBERS] == before
    finally:
        signal.signal(number, former)


def test_handlers_come_back_after_an_error():
    before = [signal.getsignal(n) for n in NUMBERS]
    with pytest.raises(ZeroDivisionError), stop_requested():
        1 / 0  # noqa: B018
    assert [signal.getsignal(n) for n in NUMBERS] == before


def test_another_thread_is_never_asked_to_stop():
    """Python installs handlers in the main thread alone."""
    answers = []

    def work():
        with stop_requested() as should_stop:
            answers.append(should_stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]


def test_an_ignored_signal_stays_ignored():
    """As SIGHUP under nohup, and Ctrl-C in a script's background job."""
    for number in (signal.SIGINT, *signals.TERMINATING):
        former = signal.signal(number, signal.SIG_IGN)
        try:
            with signals.terminable(), stop_requested() as should_stop:
                os.kill(os.getpid(), number)
                assert not should_stop() and signal.getsignal(number) == signal.SIG_IGN
        finally:
            signal.signal(number, former)
