"""`wav2vec2 prepare`: from recordings to a manifest."""
