"""Reads newc archives back, by the format's own description and not by the writer's code."""

from __future__ import annotations

from typing import NamedTuple


class Member(NamedTuple):
    """One name as the kernel would unpack it."""

    mode: int
    data: bytes
    inode: int
    mtime: int
    links: int
    device: tuple[int, int]


def read_archives(content: bytes) -> list[dict[str, Member]]:
    """All archives in a file, each as name -> member in the order of the file."""
    archives: list[dict[str, Member]] = []
    members: dict[str, Member] = {}
    place = 0
    while place < len(content):
        if not content[place]:  # the kernel skips zeros between archives
            place += 4
            continue
        assert content[place : place + 6] == b"070701", f"no header at {place}"
        head = [int(content[place + 6 + 8 * field : place + 14 + 8 * field], 16) for field in range(13)]
        name = content[place + 110 : place + 110 + head[11]]
        assert name.endswith(b"\0")
        start = _aligned(place + 110 + head[11])
        place = _aligned(start + head[6])
        if name == b"TRAILER!!!\0":
            archives.append(members)
            members = {}
        else:
            data = content[start : start + head[6]]
            members[name[:-1].decode()] = Member(head[1], data, head[0], head[5], head[4], (head[9], head[10]))
    assert not members, "the last archive has no trailer"
    return archives


def _aligned(place: int) -> int:
    return (place + 3) // 4 * 4
