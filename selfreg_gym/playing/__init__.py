"""Play episodes with a helper: the loop behind collection, calibration and evaluation.

``plan`` lists the episodes, ``loop`` plays them in a vector environment, ``workers`` divides them between processes,
and ``interactive`` lets a person take part in the terminal.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
