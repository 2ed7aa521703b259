"""Language models: loading, tokenising, scoring, generation and training of causal LMs.

The same code serves a Llama of 1 MB and one of 3 billion parameters: any model that
``transformers.AutoModelForCausalLM`` loads from a local directory. Importing this package imports neither torch nor
transformers; most of its modules do.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
