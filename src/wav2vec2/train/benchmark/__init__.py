"""The command ``wav2vec2 benchmark``: how fast a model trains or recognises here, and where the time goes."""
