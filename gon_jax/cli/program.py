"""The program `gon`: signals are answered from its first moment, also while modules are loaded, and it ends at once."""

import contextlib
import os
import signal
import sys

from gon_jax.cli.signals import leave_before_work

__all__ = ["program"]


def program() -> int:
    """Run the command line of the process; return the exit status."""
    former = signal.getsignal(signal.SIGINT)
    _answer_by(leave_before_work)
    from gon_jax.cli.main import main

    signal.signal(signal.SIGINT, former)
    try:
        status = main()
    except KeyboardInterrupt:  # a second one, while the first was being answered
        status = 128 + signal.SIGINT
    _answer_by(leave_before_work)  # what is left to do is to join threads of others
    if status:  # threads of others would have more to say
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, AttributeError, ValueError):  # closed
                stream.flush()
        os._exit(status)
    return status


def _answer_by(handler):
    """Answer Ctrl-C and SIGTERM by a handler, but for what the process ignores."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)
