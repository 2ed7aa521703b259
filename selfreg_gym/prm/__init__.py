"""The process reward model: p(s), the probability that an episode that stands at s ends in success.

``p`` is the outcome under a *named* continuation policy (:mod:`selfreg_gym.prm.targets`), read off a language model
(:mod:`selfreg_gym.prm.model`), with a bag of words as the floor it has to beat (:mod:`selfreg_gym.prm.bag_of_words`)
and the figures that say how far it can be trusted (:mod:`selfreg_gym.prm.reliability`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
