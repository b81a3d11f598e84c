"""N-gram language models: estimation, ARPA files, KenLM binaries and scoring."""
