"""ALFWorld: household tasks as text games, from the user's own data folder (``selfreg/ALFWorld-v0``).

Modules: ``games`` (the game files of a data folder), ``engine`` (a running game), ``planner`` (the time limit
of the expert), ``env`` (the Gymnasium env).
"""

from selfreg_gym.envs.alfworld.env import ALFWorld

__all__ = ["ALFWorld"]

IDS = ("selfreg/ALFWorld-v0",)
ENTRY = "ALFWorld"
