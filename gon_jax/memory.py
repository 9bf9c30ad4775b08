"""How much memory there is, and the one check of it: work that would not fit is refused before it begins."""

import os
from pathlib import Path

__all__ = ["check_memory", "free_memory", "memory_limit"]


def free_memory() -> int:
    """Return how many bytes of this machine's memory are free, as far as the system says; else half of all."""
    limits = []
    try:
        with open("/proc/meminfo") as file:
            limits += [1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable")]
        group = Path("/sys/fs/cgroup")  # a container's, where there is a limit
        used = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())["anon"]
        limits.append(int((group / "memory.max").read_text()) - int(used))
    except (OSError, ValueError, KeyError):  # not Linux, or no limit
        pass
    if not limits:
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 if hasattr(os, "sysconf") else 2**32]
    return max(0, min(limits))


def memory_limit(limit: int | None) -> int:
    """Return how many bytes may be read into memory: the limit, or by default half of what is free."""
    return free_memory() // 2 if limit is None else limit


def check_memory(num_bytes: int, what: str, remedy: str) -> None:
    """Refuse what would not fit into the memory that is free.

    Args:
        num_bytes: that it takes, at least.
        what: it is, for the message.
        remedy: what to do about it.

    Raises:
        ValueError: it would not fit.

    >>> check_memory(10**21, "a million samples", "draw fewer")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: expected a million samples to fit into memory, got 1e+12 GB of ... GB free: draw fewer
    """
    if num_bytes > (free := free_memory()):
        raise ValueError(
            f"expected {what} to fit into memory, got {num_bytes / 1e9:,.3g} GB of {free / 1e9:,.3g} GB free: {remedy}"
        )
