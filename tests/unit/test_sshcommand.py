"""The text that a login shell gets, tried with the shells of this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.controller.sshcommand import MARK, command_line, quoted

SHELLS = [found for name in ("sh", "bash", "zsh", "fish", "tcsh") if (found := shutil.which(name))]
PRINTS = "import os, sys; sys.stdout.buffer.write(bytes(1).join(map(os.fsencode, sys.argv[1:])))"


def through(shell: str, *words: str) -> bytes:
    argv = [shell.encode(), b"-c", command_line([sys.executable, "-X", "utf8", "-c", PRINTS, *words])]
    return subprocess.run(argv, check=True, capture_output=True).stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_hands_the_words_on_as_they_are(shell: str) -> None:
    words = [
        "a b",
        "$HOME",
        "'",
        '"',
        "*",
        ";",
        "",
        "é",
        "a!b",
        "!!",
        "\\",
        "a\\'",
        "~/x",
        "{a,b}",
        "#",
        "=x",
        "\udcff",
    ]
    expected = b"\0".join(word.encode(errors="surrogateescape") for word in words)
    assert through(shell, *words) == MARK + b"\n" + expected


@settings(max_examples=20)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4))
def test_sh_hands_any_words_on(words: list[str]) -> None:
    assert through("sh", *words) == MARK + b"\n" + "\0".join(words).encode()


def test_a_word_without_special_characters_stays_readable() -> None:
    assert quoted("/usr/bin/python3.11") == "/usr/bin/python3.11"
    assert quoted("it's") == r"'it'\''s'"


def test_text_that_is_no_file_name_is_an_error() -> None:
    with pytest.raises(UnicodeError):
        command_line(["\ud800"])
