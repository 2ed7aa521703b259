"""ScienceWorld: experiments of elementary science as a text game (``selfreg/ScienceWorld-v0``).

Modules: ``variations`` (the tasks and their published split), ``simulator`` (the Java simulator), ``expert`` (the
solution of the simulator, also after other actions), ``env`` (the Gymnasium env).
"""

from selfreg_gym.envs.scienceworld.env import ScienceWorld

__all__ = ["ScienceWorld"]

IDS = ("selfreg/ScienceWorld-v0",)
ENTRY = "ScienceWorld"
