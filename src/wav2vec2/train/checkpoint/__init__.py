"""Checkpoints of training: written beside the run, sealed, read without trust, and the one before if one is damaged."""
