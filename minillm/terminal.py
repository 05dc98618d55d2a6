"""What the command lines share."""

import argparse
import os
import sys

ERRORS = (  # what a user, a file or a device may cause; anything else is a fault of ours
    FloatingPointError, ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """One that says what is wrong in one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (--help tells more)\n")


def complain(prog, error):
    """Say in one line what is wrong, and return the exit status for it."""
    print(f"{prog}: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def hang_up():
    """Who reads what is printed, such as head, has had enough: the rest goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leave(main):
    """Run a command and end with the exit status that it returns; 0 if its reader has had enough."""
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        hang_up()
        status = 0
    sys.exit(status)


__all__ = ["ERRORS", "Parser", "complain", "hang_up", "leave"]
