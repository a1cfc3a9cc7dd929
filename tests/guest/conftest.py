"""Fixtures of the guest tests."""

from guestlab import cycle_boot, lab

__all__ = ["cycle_boot", "lab"]
