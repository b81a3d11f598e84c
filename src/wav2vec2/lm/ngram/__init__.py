"""n-gram language models: estimation, ARPA files, KenLM binaries, scores."""
