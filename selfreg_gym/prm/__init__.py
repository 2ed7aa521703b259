"""The process reward model: p(s), the probability that an episode in state s ends in success.

The continuation policy of p is named by its target (:mod:`selfreg_gym.prm.targets`). p is read from a language model
(:mod:`selfreg_gym.prm.model`); its baseline is a bag of words (:mod:`selfreg_gym.prm.bag_of_words`), and
:mod:`selfreg_gym.prm.reliability` measures both.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
