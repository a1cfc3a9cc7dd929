"""hosts.yaml: the local machine, defaults, selection. What is wrong with a file is in tests/golden/hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.controller.inventory import Host, hosts_text, load_inventory
from bench.errors import InputError
from bench.wire.units import GIB

ROOT = Path(__file__).parents[2]


def written(folder: Path, text: str) -> Path:
    file = folder / "lab.yaml"
    file.write_text(text)
    return file


def test_the_shipped_file_holds_the_local_machine() -> None:
    assert load_inventory(ROOT / "hosts.yaml").hosts == (Host("local"),)


def test_without_a_file_there_is_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inventory = load_inventory()
    assert (inventory.hosts, inventory.source) == ((Host("local"),), "")


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
        Host("b", "local", "/opt/qemu", "/boot/k", "/m", "kvm", GIB),
    )


def test_a_run_keeps_its_host_as_a_file_that_reads_back_equal(tmp_path: Path) -> None:
    host = Host("b", "local", "/opt/qemu", "/boot/k", "/m", "kvm", GIB)
    assert load_inventory(written(tmp_path, hosts_text(host))).hosts == (host,)
    assert load_inventory(written(tmp_path, hosts_text(Host("a")))).hosts == (Host("a"),)


def test_hosts_are_selected_by_name_in_the_files_order(tmp_path: Path) -> None:
    inventory = load_inventory(written(tmp_path, "hosts: [{name: a}, {name: b}, {name: c}]\n"))
    assert [host.name for host in inventory.select(["c", "a"])] == ["a", "c"]
    assert [host.name for host in inventory.select([])] == ["a", "b", "c"]
    with pytest.raises(InputError, match=r"^--host: unknown host 'd'; valid: a, b, c$"):
        inventory.select(["d"])


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
