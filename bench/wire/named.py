"""Kernels and QEMUs that an arm may name without a path: `bench prepare` puts them beside the host's own."""

from __future__ import annotations

from typing import Optional

# What stands before such a name: `kernel: named:backports`.
NAMED = "named:"
# Name -> the option of `bench prepare` that brings it. backports: of the distribution's archive of newer packages.
# standard: the distribution's kernel for any machine, with options that its kernel for guests lacks.
OPTIONS = {"backports": "--backports", "standard": "--standard-kernel"}
# Kind of file -> the names that there are of it.
NAMES = {"kernel": ("backports", "standard"), "qemu": ("backports",)}


def name_of(text: str) -> Optional[str]:
    """The name in "named:NAME"; None for a path."""
    return text[len(NAMED) :] if text.startswith(NAMED) else None


def prepare_command(name: str, host: str = "") -> str:
    """The command that brings what is called so to a host ("" where the host's name is not known)."""
    return " ".join(word for word in ("bench prepare", host, OPTIONS[name]) if word)
