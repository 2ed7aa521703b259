"""Language-model plumbing: loading, tokenising, scoring, generating and training causal LMs.

One code path for a 1 MB Llama and for a 3B one: whatever ``transformers.AutoModelForCausalLM`` loads from a local
directory. Importing this package loads neither torch nor transformers; its modules do.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
