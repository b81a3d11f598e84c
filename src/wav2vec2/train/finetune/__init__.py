"""The command ``wav2vec2 finetune`` (sections 3.3 and 4.3)."""
