"""What the command lines share."""

import argparse


class Parser(argparse.ArgumentParser):
    """One that says what is wrong in one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (--help tells more)\n")


__all__ = ["Parser"]
