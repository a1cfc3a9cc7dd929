"""Takes pushed files into this host's cache. Sent over stdin and run there, so it imports nothing of this project:

    (cat receive.py; echo HEADER; cat FILES) | python3 -c LOADER N [CACHE]

N: bytes of this source. HEADER: {"files": [{"name", "sha256", "size"}…], "keep": K}, one line. Answers are JSON lines:
first {"cache", "missing", "free_bytes", "python", "machine"}; then, after the bytes of the missing files came in that
order, {"stored", "received_bytes", "pruned"}. At any point {"error", "kind"} instead, and the end: who cannot write any
more reads that answer. kind: disk, python, checksum, permission, protocol.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

# Reads N bytes of stdin and runs them; what follows is theirs. Runs on any Python, to say which one is needed; with no
# quote, backslash, exclamation mark or newline that a login shell might take for its own. The working folder is left
# out of the path: a json.py in somebody's home is not meant.
LOADER = """\
import sys
sys.path[:] = [folder for folder in sys.path if folder]
import json
size = int(sys.argv[1])
source = getattr(sys.stdin, "buffer", sys.stdin).read(size)
len(source) == size or sys.exit("receive: stdin ended within the source")
found = ".".join(map(str, sys.version_info[:3]))
told = {"kind": "python", "error": "Python 3.9 or later is needed, this is " + found}
sys.version_info < (3, 9) and (sys.stdout.write(json.dumps(told) + chr(10)), sys.exit(1))
names = {"__name__": "fpr_receive"}
exec(compile(source, "receive.py", "exec"), names)
sys.exit(names["main"](sys.argv[2:]))""".replace("\n", "; ")
KINDS = ("fpr-host-*.pyz", "guest-*.cpio", "initrd-*.cpio", "kernel-*", "modules-*", "disk-*.img")
KEEP = 3
RECENT_S = 24 * 3600.0
LEFTOVER_S = 3600.0
# Beside the files: an initrd is made of them, and a file system is slow when it is full.
MARGIN_BYTES = 16 << 20
CHUNK_BYTES = 1 << 20
PREFIX = ".receive-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ReceiveError(Exception):
    """Ends the conversation; kind as in the module's text."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Wanted(NamedTuple):
    """A file that the host should have. name: without a folder. sha256: hex."""

    name: str
    sha256: str
    size: int


def main(argv: Sequence[str]) -> int:
    """The whole conversation over stdin and stdout. argv: [CACHE]. Exit status."""
    # Whatever is made here is the user's alone.
    os.umask(0o077)
    try:
        with _told_apart():
            _converse(sys.stdin.buffer, argv[0] if argv else "")
    except ReceiveError as error:
        with contextlib.suppress(BrokenPipeError):
            _say({"error": str(error), "kind": error.kind})
        return 1
    return 0


def touch(path: Path) -> bool:
    """Notes that a file of the cache is used now; False where it is not there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except PermissionError:  # another user's cache, from which one may read
        return True
    return True


def prune(cache: Path, keep: int, now: float) -> list[str]:
    """Removes what is old and answers the names: of each of KINDS all but the `keep` most recently used ones.

    Used is what was touched. What was used within RECENT_S before `now` (wall time) stays: a run may be using it.
    Folders and files of other names are not looked at.
    """
    removed = []
    for kind in KINDS:
        files = sorted(_files(cache, kind), key=lambda file: file[1], reverse=True)
        for name, used in files[keep:]:
            if used < now - RECENT_S:
                # Another process may prune at the same time, or have begun to use it.
                with contextlib.suppress(FileNotFoundError, PermissionError):
                    if (cache / name).lstat().st_mtime == used:
                        (cache / name).unlink()
                        removed.append(name)
    return sorted(removed)


def cache_path(named: str) -> Path:
    """The folder that is named, or the one that bench.wire.cache would use; not made yet."""
    if named:
        return Path(os.path.realpath(os.path.expanduser(named)))  # noqa: PTH111 - Path.expanduser raises for no home
    given = os.environ.get("BENCH_CACHE")
    if given:
        return Path(given).resolve()
    return (Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fpr-bench").resolve()


def _converse(stdin: BinaryIO, named: str) -> None:
    wanted, keep = _header(stdin.readline())
    cache = _private(cache_path(named))
    remove_leftovers(cache)
    missing = [file for file in wanted if not _is_there(cache, file)]
    pruned = prune(cache, keep, time.time())
    needed = sum(file.size for file in missing) + MARGIN_BYTES if missing else 0
    free = free_bytes(cache)
    if needed > free:
        raise _no_space(needed, cache)
    _say(
        {
            "cache": str(cache),
            "missing": [file.name for file in missing],
            "free_bytes": free,
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
    )
    for file in missing:
        _store(stdin, cache, file)
    pruned += prune(cache, keep, time.time())
    names = [file.name for file in missing]
    _say({"stored": names, "received_bytes": sum(file.size for file in missing), "pruned": sorted(pruned)})


def _header(line: bytes) -> tuple[list[Wanted], int]:
    try:
        told = json.loads(line)
        files = [Wanted(file["name"], file["sha256"], file["size"]) for file in told["files"]]
        keep = told["keep"]
    except (ValueError, KeyError, TypeError):
        text = f'{{"files": [{{"name", "sha256", "size"}}], "keep"}} was expected, not {line[:200]!r}'
        raise ReceiveError("protocol", text) from None
    for file in files:
        if not _is_plain(file.name):
            raise ReceiveError("protocol", f"{file.name!r}: a file's name has no slash, and no dot at its start")
        if not re.fullmatch("[0-9a-f]{64}", str(file.sha256)) or not _is_count(file.size):
            raise ReceiveError("protocol", f"{file.name}: needs a sha256 of 64 digits and a size in bytes")
    if len({file.name for file in files}) < len(files) or not _is_count(keep):
        raise ReceiveError("protocol", "every file is named once, and keep is a number of files")
    return files, keep


def _is_plain(name: Any) -> bool:
    return isinstance(name, str) and bool(name) and name[0] != "." and not set(name) & {"/", "\0"}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _private(cache: Path) -> Path:
    """The cache, made when it is missing. What lies in it is run: nobody else may own it or write into it."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = cache.stat()
    if status.st_uid != os.geteuid():
        text = f"{cache} belongs to user {status.st_uid}, not to {os.geteuid()}; name a folder of your own"
        raise ReceiveError("permission", text)
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ReceiveError("permission", f"{cache} may be written by others; run there: chmod go-w {cache}")
    return cache


def _is_there(cache: Path, file: Wanted) -> bool:
    """Whether the whole file is there, which is a use of it. A damaged one counts as missing and is replaced."""
    path = cache / file.name
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
            return False
        # Twice: to read it takes a while, and somebody else may prune meanwhile.
        return touch(path) and _sha256(path) == file.sha256 and touch(path)
    except OSError:
        return False


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for part in iter(lambda: stream.read(CHUNK_BYTES), b""):
            digest.update(part)
    return digest.hexdigest()


def _store(stdin: BinaryIO, cache: Path, file: Wanted) -> None:
    """One file from stdin: nobody sees it under its name before it is whole, verified and on the disk."""
    fd, temporary = tempfile.mkstemp(prefix=PREFIX, dir=cache)
    try:
        with os.fdopen(fd, "wb") as out:
            found = _copy(stdin, out, file)
            out.flush()
            os.fsync(out.fileno())
        if found != file.sha256:
            raise ReceiveError("checksum", f"{file.name}: arrived with sha256 {found} instead of {file.sha256}")
        Path(temporary).replace(cache / file.name)
        _sync_folder(cache)
    except BaseException as error:
        Path(temporary).unlink()
        if isinstance(error, OSError) and error.errno in _FULL:
            raise _no_space(file.size, cache, error) from error
        raise


def _copy(stdin: BinaryIO, out: BinaryIO, file: Wanted) -> str:
    """The sha256 of what came."""
    digest, left = hashlib.sha256(), file.size
    while left:
        part = stdin.read(min(left, CHUNK_BYTES))
        if not part:
            raise ReceiveError("protocol", f"stdin ended after {file.size - left} of {file.size} bytes of {file.name}")
        out.write(part)
        digest.update(part)
        left -= len(part)
    return digest.hexdigest()


def _sync_folder(cache: Path) -> None:
    fd = os.open(cache, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _files(cache: Path, kind: str) -> list[tuple[str, float]]:
    """(name, when it was last used) of the files of one kind."""
    found = []
    with os.scandir(cache) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if fnmatch(entry.name, kind) and entry.is_file(follow_symlinks=False):
                    found.append((entry.name, entry.stat(follow_symlinks=False).st_mtime))
    return found


def remove_leftovers(cache: Path) -> None:
    """Temporary files of processes that were killed while they wrote them."""
    for name, written in _files(cache, f"{PREFIX}*"):
        if written < time.time() - LEFTOVER_S:
            with contextlib.suppress(FileNotFoundError):
                (cache / name).unlink()


def free_bytes(cache: Path) -> int:
    """What this user may still write there."""
    status = os.statvfs(cache)
    return status.f_bavail * status.f_frsize


def _no_space(needed: int, cache: Path, error: OSError | None = None) -> ReceiveError:
    what = error.strerror if error else os.strerror(errno.ENOSPC)
    return ReceiveError("disk", f"{what}: {_mib(needed)} needed, {_mib(free_bytes(cache))} free in {cache}")


def _mib(size: int) -> str:
    return f"{round(size / 2**20, 1):g} MiB"


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """What the operating system refuses, as a ReceiveError."""
    try:
        yield
    except BrokenPipeError:
        raise ReceiveError("protocol", "nobody reads the answers") from None
    except OSError as error:
        kind = "disk" if error.errno in _FULL else "permission"
        raise ReceiveError(kind, f"{error.filename}: {error.strerror}") from error


def _say(answer: dict[str, Any]) -> None:
    # Past Python's buffer, which would be tried again, and fail again, at the very end.
    os.write(1, json.dumps(answer).encode() + b"\n")
