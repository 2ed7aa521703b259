"""Play episodes with a helper: the loop of collection, calibration and evaluation.

``plan`` defines an episode to play, ``loop`` plays a list of them in an env, ``executor`` divides work between
processes (``workers``), and ``interactive`` plays an episode with a person in the terminal.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
