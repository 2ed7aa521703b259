"""Models behind an OpenAI-compatible server.

From a request to an action: ``server`` (address, time limits, prices), ``transport`` (one HTTP exchange), ``client``
(retries), ``connection`` (many requests, cached and counted), ``probe`` (capabilities) and ``strategies`` (actions).
``answers`` and ``formats`` parse responses, ``echo``, ``structured`` and ``systemone`` are forms of requests,
``redaction`` removes keys and control characters from texts, and ``prm`` is a process reward model. The package
``openai`` is imported at the first request.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
