"""Constants shared by the compiled passes and those in NumPy."""

from __future__ import annotations

__all__ = ["EPS", "FIXED", "FREE", "FROZEN", "WIDTH"]

FREE, FIXED, FROZEN = 0, 1, 2
"""Modes: choose actions; evaluate ``policy``; choose actions with S held at what ``values`` holds (a PRM's p)."""

EPS = 1e-12
"""Two actions whose values differ by less are tied."""

WIDTH = 8
"""Prices per batched pass, a compile-time constant."""
