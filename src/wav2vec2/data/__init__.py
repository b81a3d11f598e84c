"""Manifests of utterances, their preparation, and the loading of planned batches of waveforms."""
