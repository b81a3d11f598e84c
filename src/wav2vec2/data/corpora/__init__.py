"""The corpora and file layouts that `wav2vec2 prepare` reads, and the download of public corpora."""
