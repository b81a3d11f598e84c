"""Error rates of a model on a manifest, and the search of decoding weights."""
