"""From audio files to batches: manifests, their preparation, tar shards, the dataset and its sampler."""
