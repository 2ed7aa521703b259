"""The intervention problem as a Gymnasium environment: a helper chooses nohelp or help at each step of a text task.

``env`` is the single environment and ``vector_env`` the batched one; both keep each episode in progress in an
``episode``. ``building`` turns names into tasks, actors and interventions, ``task_output`` validates what a task
returns, ``infos`` batches infos, ``snapshots`` saves and restores a task, and ``sb3`` adapts to Stable-Baselines3.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
