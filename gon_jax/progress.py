"""Progress of work, on a terminal or in a notebook: a bar where steps are counted, else the seconds that passed."""

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["bar", "busy"]

SECONDS = 0.5  # between updates; nothing is shown before the second one


def bar(iterable: Iterable[Any] | None = None, label: str | None = None, **options: Any) -> Any:
    """Return a progress bar of tqdm, which shows nothing where standard error is a file or a pipe.

    Args:
        iterable: what is worked through.
        label: in front of the bar; None shows nothing.
        **options: of tqdm; by default the bar is removed at its end.

    >>> list(bar(range(3)))
    [0, 1, 2]
    """
    from tqdm.auto import tqdm

    disable = True if label is None else None  # None: unless on a terminal, or in a notebook
    every: dict[str, Any] = {"iterable": iterable, "desc": label, "disable": disable, "leave": False} | options
    return tqdm(**every)


@contextlib.contextmanager
def busy(label: str | None) -> Iterator[None]:
    """Show a label and the seconds that have passed, until the work inside is done; None shows nothing.

    >>> with busy(None):
    ...     pass
    """
    if label is None:
        yield
        return
    done = threading.Event()

    def show():
        if done.wait(SECONDS):
            return
        with bar(label=label, bar_format="{desc}: {elapsed}") as seconds:
            while not done.wait(SECONDS):
                seconds.refresh()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
