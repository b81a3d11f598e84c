"""The command ``wav2vec2 pretrain`` (sections 2, 3.1 and 3.2)."""
