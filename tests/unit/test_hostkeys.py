"""Files that say which keys hosts have, read as OpenSSH reads them."""

from __future__ import annotations

import base64
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.controller.hostkeys import HostKeys, KnownKey, OtherKeyError, fingerprint_of, known_keys
from bench.controller.sshpeer import Peer
from bench.errors import LabError

BLOB = b"a public key"
KEY = f"ssh-ed25519 {base64.b64encode(BLOB).decode()}"
PEER = Peer("lab1", "10.0.0.7", 22, "root")


class Offered:
    """What paramiko would hand over."""

    def __init__(self, kind: str, blob: bytes) -> None:
        self.kind, self.blob = kind, blob

    def get_name(self) -> str:
        return self.kind

    def asbytes(self) -> bytes:
        return self.blob


def known(folder: Path, text: str, name: str = "lab.example") -> list[KnownKey]:
    file = folder / "known_hosts"
    file.write_text(text)
    return known_keys(name, [folder / "nothing", file])


@pytest.mark.parametrize(
    "names",
    ["lab.example", "LAB.example", "other,lab.example", "*.example", "lab.exampl?", "*", "*,!other.example"],
)
def test_a_line_speaks_of_the_hosts_that_it_names(tmp_path: Path, names: str) -> None:
    assert [key.blob for key in known(tmp_path, f"{names} {KEY} a comment\n")] == [BLOB]


@pytest.mark.parametrize(
    "names", ["lab", "lab.example.org", "xlab.example", "*,!lab.example", "!other", "[lab].example"]
)
def test_a_line_does_not_speak_of_other_hosts(tmp_path: Path, names: str) -> None:
    assert known(tmp_path, f"{names} {KEY}\n") == []


def test_a_port_belongs_to_the_name(tmp_path: Path) -> None:
    text = f"[lab.example]:2222 {KEY}\n"
    assert known(tmp_path, text) == []
    assert len(known(tmp_path, text, Peer("lab1", "lab.example", 2222, "root").known_as)) == 1


def test_a_hashed_name_is_found(tmp_path: Path) -> None:
    salt = bytes(20)
    digest = hmac.digest(salt, b"lab.example", "sha1")
    name = "|".join(["", "1", base64.b64encode(salt).decode(), base64.b64encode(digest).decode()])
    assert len(known(tmp_path, f"{name} {KEY}\n")) == 1
    assert known(tmp_path, f"{name} {KEY}\n", "other.example") == []


def test_marks_are_understood_or_passed_over(tmp_path: Path) -> None:
    found = known(tmp_path, f"# lab.example {KEY}\n@revoked * {KEY}\n@cert-authority * {KEY}\n")
    assert [key.revoked for key in found] == [True]


@given(st.text())
def test_no_text_is_too_strange(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "strange"
    file.write_bytes(text.encode(errors="surrogatepass") + f"\nlab.example {KEY}\n".encode())
    assert BLOB in [key.blob for key in known_keys("lab.example", [file])]


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=f"host lab1: {tmp_path} cannot be read: Is a directory"):
        HostKeys(PEER, files=[tmp_path])


def test_known_types_are_negotiated_first_and_refused_ones_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("10.0.0.7 ssh-rsa AAAA\n")
    usual = ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"]
    assert HostKeys(PEER, files=[tmp_path / "known_hosts"]).algorithms(usual) == [*usual[2:], *usual[:2]]
    pinned = HostKeys(PEER, fingerprint_of(BLOB), files=[tmp_path / "known_hosts"])
    assert pinned.algorithms(usual) == usual
    with pytest.raises(OtherKeyError):
        pinned.missing_host_key(None, "", Offered("ssh-rsa", b"another"))
    assert pinned.algorithms(usual) == usual[:2]
    pinned.missing_host_key(None, "", Offered("ssh-ed25519", BLOB))


@pytest.mark.parametrize(
    ("via", "command"),
    [
        ("", "ssh-keyscan -t rsa -p 22 10.0.0.7 >>"),
        ("a@gate:22", "ssh ssh://a@gate:22 ssh-keyscan -t rsa -p 22 10.0.0.7 >>"),
        ("a@gate:22,b@inner:2222", "ssh -J a@gate:22 ssh://b@inner:2222 ssh-keyscan -t rsa -p 22 10.0.0.7 >>"),
    ],
)
def test_an_unknown_key_is_fetched_from_where_the_host_can_be_reached(via: str, command: str) -> None:
    keys = HostKeys(Peer("lab1", "10.0.0.7", 22, "root", via=via), files=[])
    with pytest.raises(LabError) as caught:
        keys.missing_host_key(None, "", Offered("ssh-rsa", BLOB))
    assert f"accept it:  {command} ~/.ssh/known_hosts" in str(caught.value)
