"""hosts.yaml: the local machine, defaults, selection. What is wrong with a file is in tests/golden/hosts."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.controller.inventory import Host, hosts_text, load_inventory
from bench.errors import InputError
from bench.wire.units import GIB

ROOT = Path(__file__).parents[2]
GOOD = ROOT / "tests/golden/good/hosts.yaml"


def written(folder: Path, text: str) -> Path:
    file = folder / "lab.yaml"
    file.write_text(text)
    return file


def test_the_shipped_file_holds_the_local_machine() -> None:
    assert load_inventory(ROOT / "hosts.yaml").hosts == (Host("local", become="sudo"),)


def test_without_a_file_there_is_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inventory = load_inventory()
    assert (inventory.hosts, inventory.source) == ((Host("local", become="sudo"),), "")


def test_a_file_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts.yaml").write_text("hosts: [{name: here}]\n")
    monkeypatch.chdir(tmp_path)
    assert [host.name for host in load_inventory().hosts] == ["here"]


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read"):
        load_inventory(tmp_path / "nowhere.yaml")


def test_a_host_says_what_differs_from_the_defaults(tmp_path: Path) -> None:
    text = """\
defaults: {accel: tcg, memory: 8G, qemu: /opt/qemu}
hosts:
  - {name: a}
  - {name: b, accel: kvm, memory: 1G, kernel: /boot/k, modules: /m, address: local}
"""
    assert load_inventory(written(tmp_path, text)).hosts == (
        Host("a", accel="tcg", memory_bytes=8 * GIB, qemu="/opt/qemu"),
        Host("b", qemu="/opt/qemu", kernel="/boot/k", modules="/m", accel="kvm", memory_bytes=GIB),
    )


def test_every_key_of_a_host_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    fingerprint = "SHA256:AbCdEfGhIjKlMnOpQrStUvWxYz0123456789+/AAAAA"
    assert load_inventory(GOOD).hosts == (
        Host("local", become="sudo", sampler_cpus=(0,)),
        Host(
            "lab-1",
            address="192.0.2.7",
            user="bench",
            port=2222,
            identity="/home/me/.ssh/id_ed25519",
            gateway="me@gate.example.org:22",
            fingerprint=fingerprint,
            become="sudo",
            python="/usr/bin/python3.11",
            qemu="/usr/bin/qemu-system-x86_64",
            kernel="/boot/vmlinuz-6.1.0",
            modules="/lib/modules/6.1.0",
            accel="kvm",
            memory_bytes=64 * GIB,
            guest_cpus=(2, 3, 4, 5, 6, 7, 10),
            sampler_cpus=(0,),
            numa_node=0,
            scratch="~/bench",
            tags=("bare-metal", "epyc"),
        ),
        Host(
            "lab-2",
            address="fe80::1%eth0",
            user="bench",
            identity="/home/me/.ssh/id_ed25519",
            gateway="me@fe80::2",
            fingerprint=fingerprint,
            python="python3",
            memory_bytes=GIB,
            sampler_cpus=(0,),
            scratch="/var/tmp/bench",
            tags=("epyc",),
        ),
    )


def example() -> str:
    """The commented host of the shipped file, taken at its word: the # removed, and a fingerprint put in."""
    text = (ROOT / "hosts.yaml").read_text()
    commented = [line[2:] for line in text[text.index("# - name: lab-1") :].splitlines()]
    return "hosts:\n" + "\n".join(commented).replace("SHA256:KEY", "SHA256:" + "A" * 43) + "\n"


def test_the_example_in_the_shipped_file_is_right_and_explains_every_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = tmp_path / "arch/x86/boot/bzImage"
    kernel.parent.mkdir(parents=True)
    kernel.touch()
    monkeypatch.chdir(tmp_path)
    (host,) = load_inventory(written(tmp_path, example())).hosts
    assert host.kernel == f"push:{kernel}"
    left = {
        name for name in Host.__dataclass_fields__ if getattr(host, name) == Host.__dataclass_fields__[name].default
    }
    assert left == set(), "keys that the example does not show"


def test_a_remote_host_runs_python3_unless_it_says_otherwise_and_the_local_one_what_runs_here() -> None:
    assert Host("a", address="lab-1").python == "python3"
    assert Host("a", address="lab-1", python="/opt/python").python == "/opt/python"
    assert Host("a").python == ""


def test_defaults_for_ssh_pass_by_the_local_machine(tmp_path: Path) -> None:
    text = "defaults: {user: me, port: 23}\nhosts: [{name: here}, {name: there, address: lab-1}]\n"
    here, there = load_inventory(written(tmp_path, text)).hosts
    assert (here.user, here.port, there.user, there.port) == ("", None, "me", 23)


@pytest.mark.parametrize("key", ["password", "passwd", "sudo_pass", "Passphrase", "client-secret", "api_token"])
def test_a_secret_is_refused_and_not_repeated(key: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lab\.yaml:3: hosts\.0\..*: no secrets in this file; use the SSH agent") as e:
        load_inventory(written(tmp_path, f"hosts:\n  - name: a\n    {key}: hunter2\n"))
    assert "hunter2" not in str(e.value)


def test_a_private_key_is_not_repeated_either(tmp_path: Path) -> None:
    text = "hosts:\n  - name: a\n    address: b\n    identity: |\n      c2VjcmV0\n      c2VjcmV0\n"
    with pytest.raises(InputError, match=r"identity: a private key itself; no secrets") as caught:
        load_inventory(written(tmp_path, text))
    assert "c2VjcmV0" not in str(caught.value)


def lists(cpus: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, ...]]:
    return st.sets(cpus, max_size=6).map(lambda found: tuple(sorted(found)))


LETTERS = "abzAZ09_"
WORDS = st.text(LETTERS, min_size=1, max_size=6)
PATHS = st.lists(st.text(LETTERS + " :#é'-", min_size=1, max_size=5), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
LOCAL: dict[str, st.SearchStrategy[Any]] = {
    "become": st.sampled_from(["sudo", "none"]),
    "python": st.sampled_from(["", "python3.12", "/opt/python-3/bin/python3"]),
    "qemu": st.just("") | PATHS,
    "kernel": st.just("") | PATHS,
    "modules": st.just("") | PATHS,
    "accel": st.sampled_from(["auto", "kvm", "tcg"]),
    "memory_bytes": st.none() | st.integers(1, 1 << 50),
    "guest_cpus": lists(st.integers(0, 99).map(lambda cpu: cpu * 2)),
    "sampler_cpus": lists(st.integers(0, 99).map(lambda cpu: cpu * 2 + 1)),
    "numa_node": st.none() | st.integers(0, 64),
    "scratch": st.just("") | PATHS | PATHS.map(lambda path: "~" + path),
    "tags": st.lists(st.text("abc-5", min_size=1, max_size=4).map(lambda tag: "t" + tag), unique=True).map(tuple),
}
REMOTE = LOCAL | {
    "address": st.sampled_from(["lab-1.example.org", "192.0.2.7", "fe80::1%eth0", "localhost"]),
    "user": st.just("") | WORDS,
    "port": st.none() | st.integers(1, 65535),
    "identity": st.just("") | PATHS,
    "gateway": st.sampled_from(["", "gate", "me@gate:22", "::1", "me@fe80::1%eth0"]),
    "fingerprint": st.just("") | st.text("aZ09+/", min_size=43, max_size=43).map(lambda text: "SHA256:" + text),
}
HOSTS = st.lists(st.fixed_dictionaries(LOCAL) | st.fixed_dictionaries(REMOTE), min_size=1, max_size=3).map(
    lambda found: tuple(Host(f"host-{index}", **values) for index, values in enumerate(found))
)


@given(HOSTS)
def test_a_run_keeps_its_hosts_as_a_file_that_reads_back_equal(hosts: tuple[Host, ...]) -> None:
    with TemporaryDirectory() as folder:
        assert load_inventory(written(Path(folder), hosts_text(hosts))).hosts == hosts


def test_a_pushed_kernel_is_kept_with_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bzImage").touch()
    (tmp_path / "modules").mkdir()
    monkeypatch.chdir(tmp_path)
    text = "hosts: [{name: a, kernel: 'push:./bzImage', modules: 'push:modules'}]\n"
    hosts = load_inventory(written(tmp_path, text)).hosts
    assert (hosts[0].kernel, hosts[0].modules) == (f"push:{tmp_path}/bzImage", f"push:{tmp_path}/modules")
    file = written(tmp_path, hosts_text(hosts))
    monkeypatch.chdir("/")
    assert load_inventory(file).hosts == hosts


def test_hosts_are_selected_by_name_in_the_files_order(tmp_path: Path) -> None:
    inventory = load_inventory(written(tmp_path, "hosts: [{name: a}, {name: b}, {name: c}]\n"))
    assert [host.name for host in inventory.select(["c", "a"])] == ["a", "c"]
    assert [host.name for host in inventory.select([])] == ["a", "b", "c"]
    with pytest.raises(InputError, match=r"^--host: unknown host 'd'; valid: a, b, c$"):
        inventory.select(["d"])


def test_hosts_are_selected_by_tag_and_by_name_and_tag_together() -> None:
    inventory = load_inventory(GOOD)

    def names(hosts: list[str], tags: list[str]) -> list[str]:
        return [host.name for host in inventory.select(hosts, tags)]

    assert names([], ["epyc"]) == ["lab-1", "lab-2"]
    assert names([], ["bare-metal", "epyc"]) == ["lab-1", "lab-2"]
    assert names([], ["bare-metal"]) == ["lab-1"]
    assert names(["lab-2", "local"], ["epyc"]) == ["lab-2"]


def test_a_selection_that_leaves_no_host_is_refused(tmp_path: Path) -> None:
    inventory = load_inventory(GOOD)
    with pytest.raises(InputError, match=r"^--tag: unknown tag 'epic'; did you mean 'epyc'\? valid: bare-metal, epyc$"):
        inventory.select([], ["epic"])
    left = r"^--tag: no host of --host \(local, lab-2\) has the tag bare-metal; with it: lab-1$"
    with pytest.raises(InputError, match=left):
        inventory.select(["local", "lab-2"], ["bare-metal"])
    untagged = load_inventory(written(tmp_path, "hosts: [{name: a}]\n"))
    with pytest.raises(InputError, match=r"^--tag: unknown tag 'x'; no host has one; write tags: \[x\] to one"):
        untagged.select([], ["x"])


def test_what_only_the_machine_can_tell_is_shown_at_the_key_in_the_file(tmp_path: Path) -> None:
    text = "defaults:\n  qemu: /opt/qemu\nhosts:\n  - name: a\n    kernel: /boot/k\n"
    file = written(tmp_path, text)
    (host,) = load_inventory(file).hosts
    assert str(host.error("kernel", "no kernel")) == f"{file}:5: hosts.0.kernel: no kernel"
    assert str(host.error("qemu", "missing")) == f"{file}:2: defaults.qemu: missing"
    assert str(host.error("modules", "full")) == f"{file}:4: hosts.0.modules: full"


def test_without_a_file_an_error_still_says_what_it_is_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (host,) = load_inventory().hosts
    assert str(host.error("qemu", "missing")) == "this machine: qemu: missing"
