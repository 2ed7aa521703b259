"""Text tasks made of other envs: Gymnasium envs by ``TextAdapter``, games of TextArena and GEM."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
