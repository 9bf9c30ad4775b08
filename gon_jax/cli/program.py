"""The program `gon`: signals are answered from its first moment, also while JAX is imported, and it ends at once."""

import os
import signal
import sys

__all__ = ["program"]


def program() -> int:
    """Run the command line of the process; return the exit status."""

    def leave(number, frame):
        print("gon: interrupted" if number == signal.SIGINT else "gon: terminated", file=sys.stderr, flush=True)
        os._exit(128 + number)  # nothing is being written yet

    former = signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    from gon_jax.cli.main import main

    signal.signal(signal.SIGINT, former)
    try:
        status = main()
    except KeyboardInterrupt:  # a second one, while the first was being answered
        status = 128 + signal.SIGINT
    signal.signal(signal.SIGINT, leave)  # what is left to do is to join threads of others
    signal.signal(signal.SIGTERM, leave)
    if status:  # threads of others would have more to say
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status
