"""Progress of work that has no steps to count: compiling, principal components, mixtures."""

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["busy"]

SECONDS = 0.5  # between updates; nothing is shown before the second one


@contextlib.contextmanager
def busy(label: str | None) -> Iterator[None]:
    """Show a label and the seconds that have passed, until the work inside is done; None shows nothing.

    >>> with busy(None):
    ...     pass
    """
    if label is None:
        yield
        return
    from tqdm.auto import tqdm

    done = threading.Event()

    def show():
        if done.wait(SECONDS):
            return
        with tqdm(desc=label, bar_format="{desc}: {elapsed}", leave=False) as bar:
            while not done.wait(SECONDS):
                bar.refresh()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
