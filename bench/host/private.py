"""A private folder for one boot's sockets and console, gone afterwards, also after a crash."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.host.owning import locked
from bench.wire.living import identity

_PREFIX = "fpr-boot-"
# Where TMPDIR is too long a path for a socket.
FALLBACK_BASE = Path("/tmp")  # noqa: S108 - mkdtemp makes a private one in it
# sun_path holds 108 bytes; "/2/migration" is the longest name in the folder.
_PATH_LIMIT = 108 - len("/2/migration") - 1


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder, mode 0700, short enough for unix sockets; named and locked by this process, for `prune`."""
    for base in (Path(tempfile.gettempdir()), FALLBACK_BASE):
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))
        if len(str(folder)) < _PATH_LIMIT:
            break
        folder.rmdir()
    else:
        raise OSError(f"{tempfile.gettempdir()} is too long a path for a unix socket; set TMPDIR to a shorter one")
    descriptor = locked(folder)
    if descriptor < 0:
        raise OSError(f"{folder} was taken away by another bench")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def there(base: Path) -> list[Path]:
    """The folders of all boots in `base`."""
    return [folder for folder in base.glob(f"{_PREFIX}*") if folder.name[len(_PREFIX) :].partition("-")[0].isdigit()]


def prune(base: Path) -> list[Path]:
    """Removes this user's boot folders in `base` whose process is gone (it was killed); answers which."""
    gone = []
    for folder in there(base):
        number = folder.name[len(_PREFIX) :].partition("-")[0]
        # Another host side may prune at the same time.
        with contextlib.suppress(FileNotFoundError):
            if folder.stat().st_uid == os.getuid() and not identity(int(number)):
                # A process of another pid namespace has no number here, but its lock.
                descriptor = locked(folder)
                if descriptor >= 0:
                    shutil.rmtree(folder, ignore_errors=True)
                    os.close(descriptor)
                    gone.append(folder)
    return gone
