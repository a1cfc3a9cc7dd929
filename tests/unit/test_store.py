"""The run folder: written as it goes, finished lines never changed, a crash at any moment survived."""

from __future__ import annotations

import gzip
import hashlib
import json
import resource
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from bench.controller.store import RunFolder
from bench.errors import InputError, LabError
from bench.wire.record import Row

ROWS: list[Row] = [
    (0.10, "ram", "resident_bytes", 4096.0),
    (0.05, "ram", "resident_bytes", 549755813888.0),
    (0.10, "psi", "cpu_some_us", 12345.0),
    (0.123456789, "qemu", "cpu_main_s", 0.000123456789),
]


def boot(name: str = "local.cycle.b001.none", **more: Any) -> dict[str, Any]:
    return {"boot": name, "status": "ok", "series": f"series/{name}.csv.gz", **more}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "results/run", {"schema": 1, "plan": "quick"}, "arms: []\n", "hosts: []\n")


def test_a_new_folder_holds_what_is_about_to_be_run(folder: RunFolder) -> None:
    assert folder.run == {"schema": 1, "plan": "quick"}
    assert (folder.path / "plan.yaml").read_text() == "arms: []\n"
    assert (folder.path / "hosts.yaml").read_text() == "hosts: []\n"
    assert folder.boots() == []
    assert RunFolder.existing(folder.path).run == folder.run


def test_a_folder_that_is_there_already_is_never_taken(folder: RunFolder) -> None:
    with pytest.raises(InputError, match=r"--out .*/results/run: it exists already; resume it with --resume"):
        RunFolder.create(folder.path, {}, "", "")


def test_a_path_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--out .*/file/run: .*/file is no folder that can be written; name another"):
        RunFolder.create(tmp_path / "file/run", {}, "", "")


def test_a_disk_that_is_too_full_is_told_before_the_first_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    with pytest.raises(InputError, match="1 MiB free on its disk, 64 MiB are needed"):
        RunFolder.create(tmp_path / "run", {}, "", "")


def test_a_folder_without_run_json_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run folder"):
        RunFolder.existing(tmp_path)


def test_boots_come_back_in_the_order_in_which_they_ended(folder: RunFolder) -> None:
    names = ["b", "a", "c"]
    for name in names:
        folder.append_boot(boot(name), ROWS, {})
    assert [line["boot"] for line in folder.boots()] == names


def test_finished_lines_are_never_changed(folder: RunFolder) -> None:
    lines = folder.path / "boots.jsonl"
    folder.append_boot(boot("a"), ROWS, {})
    first = lines.read_bytes()
    folder.append_boot(boot("b"), ROWS, {})
    assert lines.read_bytes().startswith(first)
    assert lines.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("torn", [b"{", b'{"boot": "b", "status": "ok"', b'{"boot": "b"}'])
def test_a_line_torn_by_a_crash_is_no_boot_and_the_next_one_replaces_it(folder: RunFolder, torn: bytes) -> None:
    lines = folder.path / "boots.jsonl"
    folder.append_boot(boot("a"), ROWS, {})
    with lines.open("ab") as file:
        file.write(torn)
    assert [line["boot"] for line in folder.boots()] == ["a"]
    folder.append_boot(boot("c"), ROWS, {})
    assert [line["boot"] for line in folder.boots()] == ["a", "c"]
    assert [json.loads(line)["boot"] for line in lines.read_text().splitlines()] == ["a", "c"]


def test_a_line_torn_at_the_very_first_boot_is_replaced_too(folder: RunFolder) -> None:
    (folder.path / "boots.jsonl").write_bytes(b'{"boot"')
    assert folder.boots() == []
    folder.append_boot(boot("a"), ROWS, {})
    assert [line["boot"] for line in folder.boots()] == ["a"]


def test_text_of_any_kind_stays_one_line(folder: RunFolder) -> None:
    odd = "two\nlines\r\n\u2028 é \x00 \ufffd"
    folder.append_boot(boot("a", reason=odd), ROWS, {"console": odd})
    assert folder.boots()[0]["reason"] == odd


def test_the_series_and_logs_of_a_boot_are_there_before_its_line(folder: RunFolder) -> None:
    shutil.rmtree(folder.path / "log")
    with pytest.raises(LabError, match="boot a cannot be saved"):
        folder.append_boot(boot("a"), ROWS, {"qemu": "text"})
    assert folder.boots() == []


def test_a_boot_that_cannot_be_saved_is_the_labs_error_with_the_folder(folder: RunFolder) -> None:
    shutil.rmtree(folder.path / "series")
    with pytest.raises(LabError, match=f"host controller: {folder.path}: boot a cannot be saved: No such file"):
        folder.append_boot(boot("a"), ROWS, {})


def test_pandas_reads_the_series_with_values_and_times_in_order(folder: RunFolder) -> None:
    folder.append_boot(boot(), ROWS, {})
    table = pd.read_csv(folder.path / boot()["series"])
    assert list(table.columns) == ["t_s", "source", "name", "value"]
    assert list(table.t_s) == sorted(table.t_s)
    ram = table[table.source == "ram"]
    assert list(ram.value) == [549755813888.0, 4096.0]
    assert table[table.name == "cpu_main_s"].value.item() == pytest.approx(0.000123456789, rel=1e-9)
    assert table[table.name == "cpu_main_s"].t_s.item() == pytest.approx(0.123457, abs=1e-9)


def test_rows_as_lists_make_the_same_series_as_rows_as_tuples(folder: RunFolder) -> None:
    folder.append_boot(boot("a"), ROWS, {})
    folder.append_boot(boot("b"), [list(row) for row in reversed(ROWS)], {})  # type: ignore[misc]
    first, second = (folder.path / f"series/{name}.csv.gz" for name in ("a", "b"))
    assert gzip.decompress(first.read_bytes()) == gzip.decompress(second.read_bytes())
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == bytes(4)  # no time in gzip's header
    assert first.read_bytes()[4:8] == bytes(4)  # no time in gzip's header


def test_a_boot_without_a_series_has_a_header(folder: RunFolder) -> None:
    folder.append_boot(boot(), [], {})
    assert pd.read_csv(folder.path / boot()["series"]).empty


def test_logs_are_files_of_their_own(folder: RunFolder) -> None:
    folder.append_boot(boot("a"), ROWS, {"qemu": "one\n", "console": "two\n"})
    assert sorted(path.name for path in (folder.path / "log").iterdir()) == ["a.console.txt", "a.qemu.txt"]
    assert (folder.path / "log/a.console.txt").read_text() == "two\n"


def test_json_with_a_number_that_json_does_not_know_is_refused(folder: RunFolder) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_json("analysis.json", {"p": float("nan")})
    assert not (folder.path / "analysis.json").exists()


def test_no_temporary_file_is_left(folder: RunFolder) -> None:
    folder.append_boot(boot(), ROWS, {"qemu": ""})
    folder.write_json("analysis.json", {})
    folder.seal()
    assert [path.name for path in folder.path.rglob("*.tmp")] == []


def test_the_seal_has_the_hash_of_every_file_but_itself(folder: RunFolder) -> None:
    folder.append_boot(boot(), ROWS, {"qemu": "text"})
    folder.seal()
    manifest = json.loads((folder.path / "manifest.json").read_text())
    assert manifest["plan"] == "quick"
    files = {path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == files - {"manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((folder.path / name).read_bytes()).hexdigest() == digest


def test_a_second_seal_covers_what_came_since_the_first(folder: RunFolder) -> None:
    folder.seal()
    folder.append_boot(boot(), ROWS, {})
    folder.seal()
    manifest = json.loads((folder.path / "manifest.json").read_text())
    assert "boots.jsonl" in manifest["files"]


def test_a_boot_that_does_not_fit_on_the_disk_is_said_and_the_boots_before_it_stay(folder: RunFolder) -> None:
    folder.append_boot(boot("a"), [], {})
    before = (folder.path / "boots.jsonl").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # what a full disk does to a file, without one
    try:
        with pytest.raises(LabError, match="boot b cannot be saved: File too large"):
            folder.append_boot(boot("b"), [], {"console": "x" * 5000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (folder.path / "boots.jsonl").read_bytes() == before
    folder.append_boot(boot("b"), [], {"console": "x" * 5000})
    assert [line["boot"] for line in folder.boots()] == ["a", "b"]
