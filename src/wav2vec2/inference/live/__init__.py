"""Recognition while somebody speaks: ``Transcriber.live()`` and ``wav2vec2 listen``."""
