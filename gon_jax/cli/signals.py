"""Ctrl-C and SIGTERM: as an exception, as a question that a loop asks, and the second time as the end at once."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Terminated", "leave_at_once", "stop_requested", "terminable"]


class Terminated(BaseException):
    """SIGTERM has come."""


def leave_at_once(number: int, frame: object = None) -> None:
    """End the process, whatever its threads do; files are written whole or not at all, and stay."""
    print("gon: interrupted", file=sys.stderr, flush=True)
    os._exit(128 + number)


@contextmanager
def terminable() -> Iterator[None]:
    """Make an exception of SIGTERM, in the main thread; the former handler comes back at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number, frame):
        raise Terminated

    former = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C or SIGTERM has come; a second one ends the process.

    Handlers are installed in the main thread alone, and the former ones come back at the end.

    >>> with stop_requested() as should_stop:
    ...     should_stop()
    False
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number, frame):
        if requested.is_set():
            leave_at_once(number)
        requested.set()

    for number in former:
        signal.signal(number, request)
    try:
        yield requested.is_set
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
