"""An engine made of arithmetic: vLLM V1's step semantics, driven by the same policies."""
