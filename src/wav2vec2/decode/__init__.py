"""Decoders: from log-probabilities to symbols. They never see a model."""
