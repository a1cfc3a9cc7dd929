"""The doctor's findings as a table, as JSON and as an exit code."""

import io
import json
import os
import pty

import pytest

from bench.controller import doctor
from bench.wire.finding import Finding

OK = Finding("ok", "QEMU", "7.2.22")
WARN = Finding("warn", "KSM run", "1", "ksmd merges pages", "echo 0 | sudo tee /sys/kernel/mm/ksm/run")
MENDABLE = Finding("error", "guest kernel", "none found", "fetch one", "bench prepare local")
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


def test_several_hosts_share_one_table_in_which_the_worst_of_all_comes_first() -> None:
    lines = text_of({"alpha": [OK, WARN], "beta": [MENDABLE]}).splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["host", "state"],
        ["beta", "error"],
        ["alpha", "warn"],
        ["alpha", "ok"],
    ]
    assert "  bench prepare local  # guest kernel on beta" in lines


def test_no_finding_is_an_empty_table() -> None:
    assert text_of({}) == text_of({"local": []})
    assert doctor.exit_code({}) == 0


def on_a_terminal(reports: doctor.Reports) -> str:
    primary, secondary = pty.openpty()
    with os.fdopen(secondary, "w") as stream:
        doctor.render(reports, stream)
        stream.flush()
        text = os.read(primary, 65536).decode()
    os.close(primary)
    return text


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
    }
