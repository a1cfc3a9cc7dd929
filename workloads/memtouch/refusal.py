"""What a system that refuses memory is asked for, by what was tried: an errno alone helps nobody."""

from __future__ import annotations

import errno
import os
from typing import NoReturn

_NO_HUGE_PAGES = "no free huge page of 2 MiB: raise their number, sysctl vm.nr_hugepages=N"

# (errno, what was tried, mapping) -> what to do; an empty string stands for anything.
_ADVICE = {
    (errno.ENOMEM, "map", "hugetlb"): _NO_HUGE_PAGES,
    (errno.EINVAL, "map", "hugetlb"): "this kernel has no 2 MiB huge pages (hugetlbfs off, or another page size)",
    (errno.ENOMEM, "map", ""): "not enough memory: ask for less, or sysctl vm.overcommit_memory=1",
    (errno.EINVAL, "thp", ""): "this kernel has no transparent huge pages: ask for thp system or never",
    (errno.EINVAL, "free", ""): "MADV_FREE works on private anonymous memory only: use munmap or holes",
    (errno.EINVAL, "dontneed", "hugetlb"): "MADV_DONTNEED of hugetlb needs Linux 5.18: use munmap",
    (errno.EINVAL, "holes", "hugetlb"): "MADV_DONTNEED of hugetlb needs Linux 5.18: use munmap",
    (errno.EOPNOTSUPP, "holes", ""): "the file system cannot punch holes: use a folder on tmpfs, ext4, xfs or btrfs",
}


def check(code: int, tried: str, mapping: str) -> None:
    """Raises OSError for what a function in C answered, unless it is 0."""
    if code:
        fail(-code, tried, mapping)


def fail(number: int, tried: str, mapping: str) -> NoReturn:
    """Raises OSError that says what was tried, and what to do where that is known."""
    advice = _ADVICE.get((number, tried, mapping)) or _ADVICE.get((number, tried, ""))
    what = f"{tried} of {mapping} memory: {os.strerror(number)}"
    raise OSError(number, f"{what}: {advice}" if advice else what)
