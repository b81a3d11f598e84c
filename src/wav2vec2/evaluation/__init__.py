"""Error rates of a model on a manifest, and tuning of the decoding weights."""
