"""Ctrl-C and SIGTERM as a question that a loop asks, instead of an exception anywhere."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["stop_requested"]


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C or SIGTERM has come; a second one acts as usual.

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

    def restore():
        for number, handler in former.items():
            signal.signal(number, handler)

    def request(number, frame):
        requested.set()
        restore()

    for number in former:
        signal.signal(number, request)
    try:
        yield requested.is_set
    finally:
        restore()
