"""The command ``wav2vec2 lm transformer`` (section 4.4)."""
