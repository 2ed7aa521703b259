"""Constants shared by the compiled passes and those in NumPy."""

from __future__ import annotations

__all__ = ["EPS", "FIXED", "FREE", "FROZEN", "WIDTH"]

FREE, FIXED, FROZEN = 0, 1, 2
"""Modes: choose actions; evaluate ``policy``; choose actions with S fixed at p(s) of a process reward model."""

EPS = 1e-12
"""Actions are tied if their values differ by less."""

WIDTH = 8
"""Prices per batched pass, a compile-time constant."""
