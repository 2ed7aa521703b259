"""Models behind a server: everything between a decision and an OpenAI-compatible endpoint.

``server`` holds address and patience, ``transport`` sends one HTTP request, ``client`` repeats it until it is
answered, ``connection`` sends many, remembers and counts, ``probe`` finds out what the server does, ``ways`` turn its
answers into actions, ``answers`` and ``formats`` read them, ``echo`` reads log-probabilities off echoed prompts,
``redaction`` keeps keys and control characters out of texts, ``systemone`` asks typed questions, and ``prm`` is a
process reward model behind them. Nothing here loads ``openai`` before it is needed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
