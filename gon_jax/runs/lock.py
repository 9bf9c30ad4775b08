"""One writer per run: a lock of the operating system in the run's folder, which any death of its holder frees."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

__all__ = ["LOCK", "check_free", "locked"]

LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder and hold its lock; at the end, remove folders that were made and nothing was written into.

    On a file system without locks, that is said, and nothing is held.

    Raises:
        ValueError: another process holds it.
        OSError: the folder cannot be made, or written to.
    """
    from filelock import FileLock, Timeout

    new = [path for path in (folder, *folder.parents) if not path.exists()]
    fresh = not (folder / LOCK).exists()
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            if (folder / LOCK).exists():  # and was not removed with a new folder just before
                break
            lock.release()
    except Timeout:
        raise _busy(folder) from None
    except NotImplementedError:
        logging.getLogger(__name__).warning(
            f"{folder} is on a file system without locks: nothing keeps others out of it"
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # somebody removed it
            if fresh and {path.name for path in folder.iterdir()} == {LOCK}:
                (folder / LOCK).unlink()
        lock.release()
        with contextlib.suppress(OSError):  # as soon as one is not empty
            for path in new:
                path.rmdir()


def check_free(folder: Path) -> None:
    """Refuse a folder whose lock another process holds.

    Raises:
        ValueError: one does.
    """
    from filelock import FileLock, Timeout

    if (folder / LOCK).exists():
        try:
            with FileLock(folder / LOCK, timeout=0):
                pass
        except Timeout:
            raise _busy(folder) from None
        except NotImplementedError:  # a file system without locks
            pass


def _busy(folder):
    return ValueError(
        f"expected a folder that no other training writes to, got {folder}, where one is under way; wait until it is "
        "finished, stop it, or train into another folder"
    )
