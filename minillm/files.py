"""Files that are there whole or not at all, whenever the program is killed."""

import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path):
    """A new file to write bytes into: at the end it takes the name `path`, at one stroke.

    After an error, an older file under that name is as it was.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # the bytes are on the disk before the name is
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


__all__ = ["replacing"]
