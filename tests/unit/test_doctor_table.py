"""The doctor's findings as a table, as JSON and as an exit code."""

import io
import json
import os
import pty

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.controller import doctor
from bench.controller.doctor_groups import for_hosts, short_names
from bench.errors import BenchError, InputError, LabError, MissingError
from bench.wire.finding import ORDER, Finding

OK = Finding("ok", "QEMU", "7.2.22")
WARN = Finding("warn", "KSM run", "1", "ksmd merges pages", "echo 0 | sudo tee /sys/kernel/mm/ksm/run")
MENDABLE = Finding("error", "guest kernel", "none found", "fetch one", "bench prepare")
BROKEN = Finding("error", "canary discard", "0 MiB", "no result can be valid")


def text_of(reports: doctor.Reports) -> str:
    stream = io.StringIO()
    doctor.render(reports, stream)
    return stream.getvalue()


def test_without_a_terminal_the_table_is_plain_and_the_worst_comes_first() -> None:
    assert text_of({"local": [OK, WARN, MENDABLE]}) == (
        "state  what          value       advice\n"
        "error  guest kernel  none found  fetch one\n"
        "warn   KSM run       1           ksmd merges pages\n"
        "ok     QEMU          7.2.22\n"
        "\nTo mend:\n"
        "  bench prepare local  # guest kernel\n"
        "  echo 0 | sudo tee /sys/kernel/mm/ksm/run  # KSM run\n"
    )


def test_several_hosts_share_one_table_in_which_the_worst_of_all_comes_first_and_what_is_ok_is_counted() -> None:
    assert text_of({"alpha": [OK, WARN], "beta": [MENDABLE]}) == (
        "hosts  state  what          value       advice\n"
        "beta   error  guest kernel  none found  fetch one\n"
        "alpha  warn   KSM run       1           ksmd merges pages\n"
        "\n2 hosts: 1 with errors, 1 with warnings only; ok and not shown: 1 finding (--json has it)\n"
        "\nTo mend:\n"
        "  bench prepare beta  # guest kernel on beta\n"
        "  echo 0 | sudo tee /sys/kernel/mm/ksm/run  # KSM run on alpha\n"
    )


FLEET = [f"lab-{number:02}" for number in range(1, 41)]


def fleet(**special: list[Finding]) -> dict[str, list[Finding]]:
    """Forty hosts with the same warning, except those named (lab_07=…)."""
    return {name: special.get(name.replace("-", "_"), [WARN, OK]) for name in FLEET}


def test_what_is_equal_on_many_hosts_is_one_row_and_one_command() -> None:
    lines = text_of(fleet(lab_07=[MENDABLE])).splitlines()
    assert lines[1].split()[:2] == ["lab-07", "error"]
    assert lines[2].startswith("all but lab-07  warn   KSM run")
    assert lines[4].startswith(
        "40 hosts: 1 with errors, 39 with warnings only; ok and not shown: 39 findings (--json has them)"
    )
    assert lines[-2:] == [
        "  bench prepare lab-07  # guest kernel on lab-07",
        "  echo 0 | sudo tee /sys/kernel/mm/ksm/run  # KSM run on all but lab-07",
    ]
    assert len(lines) == 9


def load(number: int) -> Finding:
    return Finding("warn", "load", f"{number}.00 on 8 CPUs", "something else is running")


def test_a_warning_with_another_value_on_each_host_is_one_row_too() -> None:
    rows = [line for line in text_of({name: [load(n)] for n, name in enumerate(FLEET)}).splitlines() if "load" in line]
    assert [row.split("  ")[0] for row in rows] == ["all 40"]
    assert "40 different values, as 0.00 on 8 CPUs" in rows[0]
    three = text_of({name: [load(n % 3)] for n, name in enumerate(FLEET)})
    assert len([line for line in three.splitlines() if "load" in line]) == 3


def test_every_error_is_a_row_of_its_own() -> None:
    reports = {name: LabError(name, f"ssh: no route to {name}") for name in FLEET}
    assert len([line for line in text_of(reports).splitlines() if "connection" in line]) == 40


def test_what_is_ok_is_shown_of_several_hosts_when_it_is_asked_for() -> None:
    stream = io.StringIO()
    doctor.render({"a": [OK], "b": [OK]}, stream, everything=True)
    assert stream.getvalue() == "hosts  state  what  value   advice\nall 2  ok     QEMU  7.2.22\n\n2 hosts: 2 fine\n"


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (FLEET, "all 40"),
        (FLEET[:1], "lab-01"),
        (FLEET[:3], "lab-01, lab-02, lab-03"),
        (FLEET[:4], "4: lab-01, lab-02, lab-03, …"),
        (FLEET[:37], "37: lab-01, lab-02, lab-03, …"),
        (FLEET[:38], "all but lab-39, lab-40"),
    ],
)
def test_names_are_listed_shortly(hosts: list[str], expected: str) -> None:
    assert short_names(hosts, FLEET) == expected


def test_the_suites_own_command_gets_the_hosts_and_one_for_the_hosts_shell_does_not() -> None:
    assert for_hosts("bench prepare", ["a", "b"]) == "bench prepare a b"
    assert for_hosts("bench tune restore; reboot", ["a"]) == "bench tune 'restore;' reboot a"
    assert for_hosts("echo 0 | sudo tee /x", ["a"]) == "echo 0 | sudo tee /x"


UNREACHABLE = LabError("b", "ssh cannot connect: timed out\nafter 3 tries", ["ssh", "b"], ["debug1: port 22"])


def test_a_host_that_did_not_answer_is_a_row_with_the_first_line_and_json_has_the_rest() -> None:
    row = "b      error  connection  ssh cannot connect: timed out  nothing else is known of this host"
    assert text_of({"a": [OK], "b": UNREACHABLE}).splitlines()[1] == row
    (found,) = doctor.as_json({"b": UNREACHABLE})["hosts"]["b"]
    assert found["evidence"] == ("after 3 tries", "command: ssh b", "debug1: port 22")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UNREACHABLE, 5),
        (MissingError("no Python", "sudo apt-get install python3"), 2),
        (InputError("hosts.yaml:3: wrong"), 2),
        (BenchError("a bug"), 5),
    ],
)
def test_the_exit_code_counts_hosts_that_did_not_answer(error: BenchError, expected: int) -> None:
    assert doctor.exit_code({"a": [OK], "b": error}) == expected
    assert doctor.exit_code({"a": [MENDABLE], "b": error}) == expected
    assert doctor.exit_code({"a": [BROKEN], "b": error}) == 5
    assert doctor.worst({"a": [OK], "b": error}) == "error"


def test_what_a_missing_thing_needs_is_among_the_commands() -> None:
    text = text_of({"b": MissingError("no Python", "sudo apt-get install python3")})
    assert "error  host side  no Python" in text
    assert "  sudo apt-get install python3  # host side\n" in text


EVIL = "\x1b[2J\x9b31m\r\n\u202eabc[bold]\x00"


def test_nothing_that_comes_from_a_host_reaches_the_terminal_as_more_than_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    evil = Finding(EVIL, EVIL, EVIL, EVIL, EVIL, (EVIL,))
    shown = "\ufffd[2J\ufffd31m  \ufffdabc[bold]\ufffd"
    several: list[doctor.Reports] = [{"a": [evil]}, {"a": [evil], "b": LabError("b", EVIL)}]
    for reports in several:
        text = text_of(reports)
        assert shown in text
        assert text.replace("\n", "").isprintable()
        data = json.dumps(doctor.as_json(reports), ensure_ascii=False)
        assert data.isprintable()
        assert "\x1b[2J" not in on_a_terminal(reports)
    assert doctor.as_json({"a": [evil]})["hosts"]["a"][0]["severity"] == "error", "an unknown severity is no good news"


def test_a_cell_that_is_too_long_is_cut_in_the_table_and_whole_in_json() -> None:
    long = Finding("warn", "x", "y" * 5000)
    assert max(map(len, text_of({"a": [long]}).splitlines())) < 300
    assert doctor.as_json({"a": [long]})["hosts"]["a"][0]["value"] == long.value


texts = st.text(max_size=8)
anything = st.builds(Finding, st.sampled_from([*ORDER, "odd"]), texts, texts, texts, texts)
answers = st.one_of(st.lists(anything, max_size=4), st.builds(LabError, texts, texts))


@given(st.dictionaries(st.sampled_from(FLEET), answers, max_size=5))
def test_whatever_hosts_say_there_is_a_table_and_every_error_is_in_it(reports: doctor.Reports) -> None:
    text = text_of(reports)
    assert text.replace("\n", "").isprintable()
    data = doctor.as_json(reports)
    errors = [one for some in data["hosts"].values() for one in some if one["severity"] == "error"]
    assert (data["worst"] == "error") == bool(errors) == (data["exit_code"] != 0)
    rows = [line for line in text.partition("\nTo mend:")[0].splitlines()[1:] if " error " in f" {line} "]
    assert bool(rows) >= bool(errors)


def test_no_finding_is_an_empty_table() -> None:
    assert text_of({}) == text_of({"local": []})
    assert doctor.exit_code({}) == 0


def on_a_terminal(reports: doctor.Reports) -> str:
    primary, secondary = pty.openpty()
    text, end = "", "\x04"
    with os.fdopen(secondary, "w") as stream:
        doctor.render(reports, stream)
        stream.write(end)
        stream.flush()
        # One read may return before all of it has come through.
        while end not in text:
            text += os.read(primary, 65536).decode()
    os.close(primary)
    return text.removesuffix(end)


def test_a_terminal_gets_colour_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;31merror\x1b[0m" in on_a_terminal({"local": [MENDABLE]})
    monkeypatch.setenv("NO_COLOR", "1")
    shown = on_a_terminal({"local": [MENDABLE]})
    assert "error" in shown
    assert "\x1b[1;31m" not in shown


def test_brackets_in_a_value_are_shown_and_not_taken_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "cpu[bold]" in on_a_terminal({"local": [Finding("ok", "x", "cpu[bold]")]})


@pytest.mark.parametrize(
    ("findings", "expected"),
    [([OK], 0), ([OK, WARN], 0), ([WARN, MENDABLE], 2), ([MENDABLE, BROKEN], 5), ([BROKEN], 5)],
)
def test_the_exit_code_is_that_of_the_worst(findings: list[Finding], expected: int) -> None:
    assert doctor.exit_code({"a": [OK], "b": findings}) == expected


def test_json_holds_every_field_and_the_verdict() -> None:
    data = json.loads(json.dumps(doctor.as_json({"local": [OK, BROKEN]})))
    assert (data["schema"], data["worst"], data["exit_code"]) == (1, "error", 5)
    assert data["hosts"]["local"][0] == {
        "severity": "error",
        "what": "canary discard",
        "value": "0 MiB",
        "advice": "no result can be valid",
        "command": "",
        "evidence": [],
    }
