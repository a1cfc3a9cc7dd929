"""Tuning a synthetic host: every setting, and whatever can go wrong between reading and restoring."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuned_tree import BOOT_ID, CPU, NOISY, THP, changed, journal, put, tree, values

from bench.errors import InputError
from bench.host import tune
from bench.host.journal import COMMAND, Entry
from bench.host.knobs import KNOBS
from bench.host.settingfile import LATE, Write, write_by_sudo, write_directly
from bench.wire.setting import NAMES, ONLY_BY_NAME, Setting

EVERYTHING = [name for name in NAMES if name != "cpu_latency"]
GOVERNOR = CPU + "cpufreq/policy0/scaling_governor"
SWAPPINESS = "proc/sys/vm/swappiness"


def apply(root: Path, names: Sequence[str], by: str = "run-1", write: Write = write_directly) -> list[Setting]:
    return tune.apply(names, journal(root), by, write, root)


def restore(root: Path, write: Write = write_directly, **which: object) -> list[Setting]:
    return tune.restore(journal(root), write, root, **which)  # type: ignore[arg-type]


def states(settings: Sequence[Setting]) -> set[str]:
    return {item.state for item in settings}


def one(settings: Sequence[Setting], root: Path, name: str) -> Setting:
    (found,) = [item for item in settings if item.file == str(root / name)]
    return found


def answering(file: str, value: str, then: Write = write_directly) -> Write:
    """A kernel that takes every write, and makes `value` of what is written to `file`."""
    return one_by_one(lambda path, asked: then([path], value if str(path).endswith(file) else asked)[0])


def refusing(file: str) -> Write:
    def write(path: Path, value: str) -> str:
        return "Permission denied" if str(path).endswith(file) else write_directly([path], value)[0]

    return one_by_one(write)


def recording(into: list[str]) -> Write:
    def write(path: Path, value: str) -> str:
        into.append(str(path))
        return write_directly([path], value)[0]

    return one_by_one(write)


def one_by_one(write: Callable[[Path, str], str]) -> Write:
    return lambda paths, value: [write(path, value) for path in paths]


def test_every_setting_that_can_be_named_has_a_knob_but_the_one_that_is_held_open() -> None:
    assert sorted(knob.name for knob in KNOBS) == sorted(EVERYTHING)


def test_every_setting_is_set_and_every_file_is_restored_to_what_was_read(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    done = apply(tmp_path, EVERYTHING)
    assert states(done) == {"set"}
    assert {(item.file, item.before, item.wanted, item.now) for item in done} == {
        (str(tmp_path / name), before[name], wanted, wanted) for name, (_, wanted) in NOISY.items()
    }
    assert changed(before, values(tmp_path)) == {name: wanted for name, (_, wanted) in NOISY.items()}
    back = restore(tmp_path)
    assert states(back) == {"restored"}
    assert {(item.file, item.before, item.now) for item in back} == {
        (item.file, item.before, item.before) for item in done
    }
    assert values(tmp_path) == before
    assert not journal(tmp_path).path.exists()


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_setting_alone_changes_its_own_files_only(tmp_path: Path, name: str) -> None:
    before = values(tree(tmp_path))
    files = {item.file for item in apply(tmp_path, [name])}
    assert {str(tmp_path / file) for file in changed(before, values(tmp_path))} == files
    assert files
    restore(tmp_path)
    assert values(tmp_path) == before


def test_no_names_are_all_settings_but_those_that_must_be_asked_for(tmp_path: Path) -> None:
    assert {item.name for item in apply(tree(tmp_path), [])} == set(EVERYTHING) - set(ONLY_BY_NAME)


def test_what_is_shown_is_what_is_there_and_nothing_is_written(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    shown = tune.show([], tmp_path)
    assert states(shown) == {"found"}
    assert {item.file: item.now for item in shown} == {str(tmp_path / name): before[name] for name in NOISY}
    assert one(shown, tmp_path, GOVERNOR).wanted == "performance"
    assert values(tmp_path) == before
    assert not journal(tmp_path).path.exists()


def test_a_host_without_any_of_them_says_so_for_each(tmp_path: Path) -> None:
    assert [(item.name, item.state) for item in apply(tmp_path, EVERYTHING)] == [
        (name, "absent") for name in tune.ordered(EVERYTHING)
    ]
    assert states(tune.show([], tmp_path)) == {"absent"}


def test_what_is_quiet_already_is_kept_and_not_restored_later(tmp_path: Path) -> None:
    put(tree(tmp_path), THP + "enabled", "always madvise [never]")
    (kept,) = apply(tmp_path, ["thp"])
    assert (kept.state, kept.before, kept.wanted, kept.now) == ("kept", "never", "never", "never")
    assert journal(tmp_path).entries == []


@pytest.mark.parametrize("word", ["off", "forceoff", "notsupported", "notimplemented"])
def test_smt_that_is_off_or_was_never_there_is_kept(tmp_path: Path, word: str) -> None:
    put(tree(tmp_path), CPU + "smt/control", word)
    assert states(apply(tmp_path, ["smt"])) == {"kept"}


def test_only_idle_states_that_are_slow_to_wake_from_are_disabled(tmp_path: Path) -> None:
    apply(tree(tmp_path), ["idle"])
    now = values(tmp_path)
    assert [now[CPU + f"cpu0/cpuidle/state{number}/disable"] for number in range(3)] == ["0", "0", "1"]


def test_an_idle_state_whose_latency_is_unknown_is_left_alone(tmp_path: Path) -> None:
    (tree(tmp_path) / CPU / "cpu2/cpuidle/state2/latency").unlink()
    assert [item.file for item in apply(tmp_path, ["idle"])] == [
        str(tmp_path / CPU / f"cpu{cpu}/cpuidle/state2/disable") for cpu in (0, 10)
    ]


def test_boost_of_each_policy_goes_before_the_one_file_of_all(tmp_path: Path) -> None:
    (tree(tmp_path) / CPU / "intel_pstate/no_turbo").unlink()
    everywhere = put(tmp_path, CPU + "cpufreq/boost", "1")
    assert [item.file for item in apply(tmp_path, ["boost"])] == [str(everywhere)]
    restore(tmp_path)
    policies = [put(tmp_path, CPU + f"cpufreq/policy{number}/boost", "1") for number in (0, 2)]
    assert [item.file for item in apply(tmp_path, ["boost"])] == [str(path) for path in policies]
    assert everywhere.read_text() == "1\n"


def test_smt_is_applied_first_and_everything_is_restored_the_other_way_round(tmp_path: Path) -> None:
    there: list[str] = []
    back: list[str] = []
    apply(tree(tmp_path), EVERYTHING, write=recording(there))
    assert there[0].endswith("smt/control")
    restore(tmp_path, recording(back))
    assert back == there[::-1]


def test_what_cannot_be_written_is_refused_with_its_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    done = apply(tmp_path, EVERYTHING, write=refusing(SWAPPINESS))
    refused = one(done, tmp_path, SWAPPINESS)
    assert (refused.state, refused.now, refused.problem) == ("refused", "60", "Permission denied")
    assert states([item for item in done if item != refused]) == {"set"}
    assert journal(tmp_path).of(refused.file) is None
    restore(tmp_path)
    assert values(tmp_path) == before


def test_what_cannot_be_read_is_refused_and_never_written(tmp_path: Path) -> None:
    (tree(tmp_path) / SWAPPINESS).unlink()
    (tmp_path / SWAPPINESS).mkdir()
    (refused,) = apply(tmp_path, ["swappiness"])
    assert (refused.state, refused.problem) == ("refused", "not readable: Is a directory")
    assert (refused.before, refused.now) == ("", "")


def test_a_value_that_the_kernel_clamps_is_refused_by_both_names_and_still_restored(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    (done,) = apply(tmp_path, ["swappiness"], write=answering(SWAPPINESS, "7"))
    assert (done.state, done.now, done.problem) == ("refused", "7", "1 was written, but 7 is read back")
    assert states(restore(tmp_path)) == {"restored"}
    assert values(tmp_path) == before


def test_a_write_that_changes_nothing_is_refused_and_leaves_nothing_to_restore(tmp_path: Path) -> None:
    (done,) = apply(tree(tmp_path), ["swappiness"], write=answering(SWAPPINESS, "60"))
    assert (done.state, done.problem) == ("refused", "1 was written, but 60 is read back")
    assert journal(tmp_path).entries == []


def test_what_somebody_else_changed_meanwhile_is_said_and_left_to_them(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    apply(tmp_path, EVERYTHING)
    put(tmp_path, SWAPPINESS, "33")
    done = restore(tmp_path)
    foreign = one(done, tmp_path, SWAPPINESS)
    assert (foreign.state, foreign.now) == ("foreign", "33")
    assert "33" in foreign.problem
    assert changed(before, values(tmp_path)) == {SWAPPINESS: "33"}
    assert journal(tmp_path).entries == []


def test_what_somebody_else_restored_already_is_not_written_again(tmp_path: Path) -> None:
    apply(tree(tmp_path), ["swappiness"])
    put(tmp_path, SWAPPINESS, "60")
    written: list[str] = []
    assert states(restore(tmp_path, recording(written))) == {"restored"}
    assert written == []


def test_a_file_that_vanished_is_said_and_restored_when_it_is_back(tmp_path: Path) -> None:
    apply(tree(tmp_path), ["governor"])
    (tmp_path / GOVERNOR).unlink()
    done = restore(tmp_path)
    assert (one(done, tmp_path, GOVERNOR).state, len(journal(tmp_path).entries)) == ("absent", 1)
    assert "restored when it is back" in one(done, tmp_path, GOVERNOR).problem
    put(tmp_path, GOVERNOR, "performance")
    assert states(restore(tmp_path)) == {"restored"}
    assert (tmp_path / GOVERNOR).read_text() == "powersave\n"


def test_what_cannot_be_restored_stays_in_the_journal_until_it_can(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    apply(tmp_path, EVERYTHING)
    done = restore(tmp_path, refusing(SWAPPINESS))
    assert (one(done, tmp_path, SWAPPINESS).state, len(journal(tmp_path).entries)) == ("refused", 1)
    assert states(restore(tmp_path)) == {"restored"}
    assert values(tmp_path) == before


def test_a_host_that_was_started_again_is_left_as_it_came_up(tmp_path: Path) -> None:
    apply(tree(tmp_path), ["ksm", "swappiness"])
    put(tmp_path, BOOT_ID, "boot-2")
    put(tmp_path, "sys/kernel/mm/ksm/run", "1")
    by_name = {item.name: item for item in restore(tmp_path)}
    assert by_name["ksm"].state == "restored"
    assert (by_name["swappiness"].state, by_name["swappiness"].now) == ("foreign", "1")
    assert journal(tmp_path).entries == []


def test_an_unknown_name_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    said = r"unknown setting 'turbo'; known: governor, boost, "
    with pytest.raises(InputError, match=said):
        apply(tmp_path, ["ksm", "turbo"])
    with pytest.raises(InputError, match=said):
        tune.show(["ksm", "turbo"], tmp_path)
    assert values(tmp_path) == before


def test_the_setting_that_is_held_open_during_boots_is_no_file_to_write(tmp_path: Path) -> None:
    (item,) = apply(tree(tmp_path), ["cpu_latency"])
    assert (item.state, item.problem) == ("absent", "held open during each boot; nothing to set beforehand")


def test_without_a_journal_on_disk_nothing_is_changed(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    book = journal(tmp_path)
    (tmp_path / "state").write_text("a file where the folder should be")
    done = tune.apply([], book, "run-1", write_directly, tmp_path)
    assert states(done) == {"refused"}
    assert done[0].problem == f"not written, because the journal {book.path} cannot be: File exists"
    assert values(tmp_path) == before


def test_what_the_user_tuned_survives_a_run_that_tunes_the_same(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    apply(tmp_path, ["swappiness"], COMMAND)
    tuned = values(tmp_path)
    assert states(apply(tmp_path, ["swappiness"], "run-1")) == {"kept"}
    put(tmp_path, SWAPPINESS, "60")
    assert states(apply(tmp_path, ["swappiness", "ksm"], "run-1")) == {"set"}
    assert [(entry.name, entry.by) for entry in journal(tmp_path).entries] == [
        ("swappiness", COMMAND),
        ("ksm", "run-1"),
    ]
    assert [item.name for item in restore(tmp_path, by="run-1")] == ["ksm"]
    assert values(tmp_path) == tuned
    restore(tmp_path)
    assert values(tmp_path) == before


def test_what_a_dead_run_left_is_recovered_and_what_the_user_tuned_is_not(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    apply(tmp_path, ["ksm"], COMMAND)
    apply(tmp_path, ["swappiness", "thp"], "run-1")
    recovered = tune.recover(journal(tmp_path), write_directly, tmp_path)
    assert [(item.name, item.state) for item in recovered] == [("swappiness", "restored"), ("thp", "restored")]
    assert changed(before, values(tmp_path)) == {"sys/kernel/mm/ksm/run": "0"}


def test_one_name_can_be_restored_alone(tmp_path: Path) -> None:
    apply(tree(tmp_path), ["ksm", "swappiness"], COMMAND)
    assert [item.name for item in restore(tmp_path, names=["ksm"])] == ["ksm"]
    assert [entry.name for entry in journal(tmp_path).entries] == ["swappiness"]


@pytest.mark.parametrize("file", ["etc/passwd", "sys/../etc/passwd", "proc/1/mem"])
def test_a_journal_that_names_what_is_no_setting_writes_nothing(tmp_path: Path, file: str) -> None:
    put(tree(tmp_path), "etc/passwd", "1")
    entry = Entry("ksm", str(tmp_path / file), "0", "1", "run-1", "", "boot-1")
    journal(tmp_path).change(put=[entry])
    assert states(restore(tmp_path)) == {"foreign"}
    assert (tmp_path / "etc/passwd").read_text() == "1\n"
    assert journal(tmp_path).entries == []


def test_a_process_that_died_before_reading_back_leaves_what_is_still_restored(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    apply(tmp_path, ["swappiness"], write=answering(SWAPPINESS, "7"))
    entry = dataclasses.replace(journal(tmp_path).entries[0], left=None)
    journal(tmp_path).change(put=[entry])
    assert states(restore(tmp_path)) == {"restored"}
    assert values(tmp_path) == before


def test_writing_directly_makes_no_file(tmp_path: Path) -> None:
    assert write_directly([tmp_path / "gone"], "1") == ["No such file or directory"]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a `sudo` that is this shell script first in PATH."""

    def make(script: str) -> None:
        program = tmp_path / "bin/sudo"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return make


def test_one_sudo_runs_tee_for_all_files_without_asking(tmp_path: Path, sudo: Callable[[str], None]) -> None:
    sudo(f'echo "args: $@" >> {tmp_path}/argv\nshift\nexec "$@"')
    paths = [put(tmp_path, f"sys/a file {number}", "1") for number in range(2)]
    assert write_by_sudo(paths, "0") == ["", ""]
    assert [path.read_text() for path in paths] == ["0\n", "0\n"]
    assert (tmp_path / "argv").read_text() == f"args: -n tee -- {paths[0]} {paths[1]}\n"


def test_a_file_that_tee_cannot_write_is_told_apart_from_the_others(
    tmp_path: Path, sudo: Callable[[str], None]
) -> None:
    sudo('shift\nexec "$@"')
    good, bad = put(tmp_path, "sys/a file", "1"), tmp_path / "a folder"
    bad.mkdir()
    written, refused = write_by_sudo([good, bad], "0")
    assert (written, good.read_text()) == ("", "0\n")
    assert refused.endswith("Is a directory")


def test_sudo_that_may_not_is_a_reason_for_every_file(tmp_path: Path, sudo: Callable[[str], None]) -> None:
    sudo("echo 'sudo: a password is required' >&2; exit 1")
    assert write_by_sudo([tmp_path / "x", tmp_path / "y"], "0") == ["sudo: a password is required"] * 2


def test_a_host_without_sudo_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert write_by_sudo([tmp_path / "x"], "0") == ["sudo cannot be run: No such file or directory"]


def test_a_sudo_that_never_ends_is_not_waited_for(tmp_path: Path, sudo: Callable[[str], None]) -> None:
    sudo("sleep 5 & wait")  # a child that a kill does not reach keeps the pipes open
    start = time.monotonic()
    assert write_by_sudo([tmp_path / "x"], "0", deadline_s=0.2) == [LATE]
    assert time.monotonic() - start < 3


def test_a_write_that_is_late_stays_in_the_journal_because_it_may_still_happen(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    (done,) = apply(tmp_path, ["swappiness"], write=lambda paths, _: [LATE for _ in paths])
    assert (done.state, done.now, done.problem) == ("refused", "", LATE)
    put(tmp_path, SWAPPINESS, "1")  # now it comes
    assert states(restore(tmp_path)) == {"restored"}
    assert values(tmp_path) == before


def test_a_file_that_would_block_its_reader_is_refused(tmp_path: Path) -> None:
    (tree(tmp_path) / SWAPPINESS).unlink()
    os.mkfifo(tmp_path / SWAPPINESS)
    (refused,) = apply(tmp_path, ["swappiness"])
    assert (refused.state, refused.problem) == ("refused", "it reads as nothing")


def test_all_is_read_before_the_first_is_written(tmp_path: Path) -> None:
    files = {name for name in NOISY if "smt" not in name}
    before = values(tree(tmp_path))

    def write(paths: Sequence[Path], value: str) -> list[str]:
        for name in files:  # a kernel that changes everything with every write
            put(tmp_path, name, "moved")
        return write_directly(paths, value)

    done = apply(tmp_path, [], write=write)
    assert {item.file: item.before for item in done} == {str(tmp_path / name): before[name] for name in files}
    restore(tmp_path)
    assert values(tmp_path) == before


# -- SMT ---------------------------------------------------------------------------------------------------------------


def test_smt_whose_siblings_are_all_offline_already_is_kept_because_on_would_start_them(tmp_path: Path) -> None:
    put(tree(tmp_path), CPU + "smt/active", "0")
    (kept,) = apply(tmp_path, ["smt"])
    assert (kept.state, kept.now, kept.problem) == ("kept", "on", "every sibling is offline already")
    assert (tmp_path / CPU / "smt/control").read_text() == "on\n"


def test_smt_is_not_touched_where_switching_it_on_again_would_start_cpus_that_are_offline(tmp_path: Path) -> None:
    put(tree(tmp_path), CPU + "present", "0-7")
    put(tmp_path, CPU + "online", "0-3,6")
    (refused,) = apply(tmp_path, ["smt"])
    assert (refused.state, refused.now) == ("refused", "on")
    assert refused.problem == "CPUs 4-5,7 are offline, and restoring would start them"
    put(tmp_path, CPU + "online", "0-7")
    assert states(apply(tmp_path, ["smt"])) == {"set"}


def test_what_went_with_smt_is_restored_with_it(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    sibling = tmp_path / CPU / "cpufreq/policy2"
    away = tmp_path / "away"

    def write(path: Path, value: str) -> str:
        if path.name == "control":
            sibling.rename(away) if value == "off" else away.rename(sibling)
        return write_directly([path], value)[0]

    apply(tmp_path, ["governor"], COMMAND)
    apply(tmp_path, ["smt"], COMMAND, one_by_one(write))
    assert not sibling.exists()
    assert states(restore(tmp_path, one_by_one(write))) == {"restored"}
    assert values(tmp_path) == before


# -- what the kernel changes besides ---------------------------------------------------------------------------------


EPP = CPU + "cpufreq/policy0/energy_performance_preference"
MIN_PCT = CPU + "intel_pstate/min_perf_pct"
RATE = CPU + "cpufreq/schedutil/rate_limit_us"


class Kernel:
    """Takes writes as a kernel does that changes other files with them, and does not change them back."""

    def __init__(self, root: Path) -> None:
        self.root = root
        tree(root)
        put(root, EPP, "balance_performance")
        put(root, MIN_PCT, "100")
        put(root, RATE, "500")
        put(root, CPU + "cpufreq/policy0/scaling_setspeed", "<unsupported>")

    def write(self, paths: Sequence[Path], value: str) -> list[str]:
        return [self._write(path, value) for path in paths]

    def _write(self, path: Path, value: str) -> str:
        problem = write_directly([path], value)[0]
        if path.name == "scaling_governor" and value == "performance":
            put(self.root, EPP, "performance")
            (self.root / RATE).unlink(missing_ok=True)
        elif value == "schedutil":
            put(self.root, RATE, "1000")
        elif path.name == "no_turbo" and value == "1":
            put(self.root, MIN_PCT, "65")
        return problem

    def now(self) -> dict[str, str]:
        more = {name: (self.root / name).read_text().strip() for name in (EPP, MIN_PCT, RATE)}
        return {**values(self.root), **more}


@pytest.mark.parametrize("died", [False, True])
def test_what_changed_besides_a_setting_is_restored_behind_it(tmp_path: Path, died: bool) -> None:
    kernel = Kernel(tmp_path)
    before = kernel.now()
    done = apply(tmp_path, [], write=kernel.write)
    assert not {item.file for item in done} & {str(tmp_path / name) for name in (EPP, MIN_PCT, RATE)}
    if died:
        entries = [dataclasses.replace(entry, left=None) for entry in journal(tmp_path).entries]
        journal(tmp_path).change(put=entries)
    assert states(restore(tmp_path, kernel.write)) == {"restored"}
    assert kernel.now() == before
    assert journal(tmp_path).entries == []


def test_who_is_killed_while_restoring_leaves_what_is_besides_to_the_next(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    before = kernel.now()
    apply(tmp_path, ["governor"], write=kernel.write)

    def killed(paths: Sequence[Path], value: str) -> list[str]:
        if any(path.name == "rate_limit_us" for path in paths):
            raise KeyboardInterrupt
        return kernel.write(paths, value)

    with pytest.raises(KeyboardInterrupt):
        restore(tmp_path, killed)
    assert (tmp_path / RATE).read_text() == "1000\n"
    assert states(restore(tmp_path, kernel.write)) == {"restored"}
    assert kernel.now() == before


def test_what_somebody_else_changed_besides_is_left_to_them(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    apply(tmp_path, ["governor", "boost"], write=kernel.write)
    put(tmp_path, MIN_PCT, "33")
    for policy in (0, 2):
        put(tmp_path, CPU + f"cpufreq/policy{policy}/scaling_governor", "ondemand")
    restore(tmp_path, kernel.write)
    assert (kernel.root / MIN_PCT).read_text() == "33\n"
    assert (kernel.root / EPP).read_text() == "performance\n"  # the governor is theirs, and so is this
    assert journal(tmp_path).entries == []


def test_a_setting_that_could_not_be_set_leaves_nothing_besides_in_the_journal(tmp_path: Path) -> None:
    Kernel(tmp_path)
    assert "refused" in states(apply(tmp_path, ["boost"], write=refusing("no_turbo")))
    assert journal(tmp_path).entries == []


# -- an earlier entry ------------------------------------------------------------------------------------------------


def test_a_value_that_somebody_wrote_since_is_the_one_that_a_run_restores(tmp_path: Path) -> None:
    apply(tree(tmp_path), ["swappiness"], COMMAND)
    put(tmp_path, SWAPPINESS, "30")
    apply(tmp_path, ["swappiness"], "run-1")
    assert states(restore(tmp_path, by="run-1")) == {"restored"}
    assert (tmp_path / SWAPPINESS).read_text() == "30\n"


def test_an_entry_of_before_the_host_was_started_again_does_not_count_for_a_run(tmp_path: Path) -> None:
    apply(tree(tmp_path), ["swappiness"], COMMAND)
    put(tmp_path, BOOT_ID, "boot-2")
    put(tmp_path, SWAPPINESS, "60")
    apply(tmp_path, ["swappiness"], "run-1")
    restore(tmp_path, by="run-1")
    assert (tmp_path / SWAPPINESS).read_text() == "60\n"


def test_a_file_that_is_gone_since_the_host_was_started_again_leaves_the_journal(tmp_path: Path) -> None:
    apply(tree(tmp_path), ["governor"])
    (tmp_path / GOVERNOR).unlink()
    put(tmp_path, BOOT_ID, "boot-2")
    restore(tmp_path)
    assert journal(tmp_path).entries == []


@given(
    names=st.lists(st.sampled_from(EVERYTHING), min_size=1),
    texts=st.dictionaries(
        st.sampled_from([name for name, (text, _) in NOISY.items() if "[" not in text]),
        st.text(st.characters(min_codepoint=33, max_codepoint=126, blacklist_characters="[]"), min_size=1),
    ),
)
def test_whatever_was_read_is_restored(names: list[str], texts: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = tree(Path(folder))
        for name, text in texts.items():
            put(root, name, text)
        before = values(root)
        apply(root, names)
        assert states(restore(root)) <= {"restored"}
        assert values(root) == before
