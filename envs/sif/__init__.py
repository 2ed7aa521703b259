"""Situated Instruction Following as a text-only household task (``selfreg/SIF-v0``).

One file per idea: ``houses`` (rooms and furniture), ``episodes`` (what is to be done), ``human`` (the walk),
``world`` (physics and clocks), ``belief`` (what the robot knows), ``actions`` (what may be said, and when),
``text`` (every sentence), ``keys`` (state and feature keys), ``expert`` (the planner), ``env`` (the Gymnasium env).
"""

from selfreg_gym.envs.sif.env import SIF

__all__ = ["SIF"]

IDS = ("selfreg/SIF-v0",)
ENTRY = "SIF"
