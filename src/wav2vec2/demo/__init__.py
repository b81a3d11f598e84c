"""The command ``wav2vec2 demo``: the whole way on a small synthetic corpus."""
