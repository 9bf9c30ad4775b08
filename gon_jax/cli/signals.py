"""Ctrl-C and SIGTERM: as an exception, as a question that a loop asks, and the second time as the end at once."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["Stop", "Stopped", "Terminated", "answered", "leave_at_once", "leave_before_work", "left_while_loading"]
__all__ += ["stop_requested", "terminable", "word_of"]

TERMINATING = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


class Terminated(BaseException):
    """SIGTERM has come, or SIGHUP; `status` is the exit status.

    Args:
        number: the signal's.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.status = 128 + number


class Stopped(Exception):
    """A signal has stopped a command, which has saved what it had; the exit status is that of the signal.

    Args:
        number: the signal's.
        words: what was saved, and how to go on.
    """

    def __init__(self, number: int, words: str):
        super().__init__(words)
        self.status = 128 + number


def answered(numbers: Iterable[int]) -> list[int]:
    """Return the signals that this process does not ignore, as it ignores SIGHUP under `nohup`: these stay ignored."""
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


def leave_at_once(number: int, frame: object = None) -> None:
    """End the process, whatever its threads do; files are written whole or not at all, and stay."""
    with suppress(OSError):
        os.write(2, f"\ngon: {word_of(number)}\n".encode())
    os._exit(128 + number)


def leave_before_work(number: int, frame: object = None) -> None:
    """End the process before it has written anything, or after all is written."""
    with suppress(OSError):
        os.write(2, f"gon: {word_of(number)}\n".encode())
    os._exit(128 + number)


@contextmanager
def left_while_loading() -> Iterator[None]:
    """End the process by Ctrl-C or SIGTERM while modules are loaded: some catch any exception of others that they load.

    In the main thread; the former handlers come back at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = answered([signal.SIGINT, signal.SIGTERM])
    former = {number: signal.signal(number, leave_before_work) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def word_of(number: int) -> str:
    """Return what a signal does, in a word."""
    return "interrupted" if number == signal.SIGINT else "terminated"


@contextmanager
def terminable() -> Iterator[None]:
    """Make an exception of SIGTERM and SIGHUP, in the main thread; the former handlers come back at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number, frame):
        raise Terminated(number)

    former = {number: signal.signal(number, terminate) for number in answered(TERMINATING)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


class Stop:
    """Whether a signal has asked to stop: call it. `number` is the signal's, 0 before."""

    number = 0

    def __call__(self) -> bool:
        return self.number != 0


@contextmanager
def stop_requested() -> Iterator[Stop]:
    """Yield a function that tells whether Ctrl-C, SIGTERM or SIGHUP has come; a second one ends the process.

    Handlers are installed in the main thread alone, and the former ones come back at the end.

    >>> with stop_requested() as should_stop:
    ...     should_stop()
    False
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number, frame):
        if stop.number:
            leave_at_once(number)
        stop.number = number

    former = {number: signal.signal(number, request) for number in answered([signal.SIGINT, *TERMINATING])}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
