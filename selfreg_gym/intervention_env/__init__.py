"""The intervention problem as a Gymnasium environment: a helper chooses nohelp or help at each step of a text task.

``env`` is the single environment and ``vector_env`` the batched one; both hold episodes in progress as
``episode.EpisodeState``. ``building`` makes tasks, actors and interventions from names, ``task_output`` validates the
return values of a task, ``infos`` batches infos, ``snapshots`` saves and restores the state of a task, and ``sb3``
adapts the vector env to Stable-Baselines3.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
