"""Manifests, and the way from the utterances of a manifest to planned batches of waveforms."""
