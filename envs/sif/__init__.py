"""Situated Instruction Following as a text-only household task (``selfreg/SIF-v0``).

Modules: ``houses`` (rooms and furniture), ``episodes`` (tasks), ``human`` (the human's walk), ``world`` (state,
physics and clocks), ``belief`` (the robot's map), ``actions`` (admissible actions), ``text`` (observations), ``keys``
(state and feature keys), ``renumbering`` (augmented observations), ``expert`` (the planner), ``env`` (the Gymnasium
env).
"""

from selfreg_gym.envs.sif.env import SIF

__all__ = ["SIF"]

IDS = ("selfreg/SIF-v0",)
ENTRY = "SIF"
