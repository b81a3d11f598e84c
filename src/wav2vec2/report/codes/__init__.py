"""The command ``wav2vec2 report codes``: phones by codewords (appendix D)."""
