"""Audio input: files of any container as mono float32 at 16 kHz, folders of recordings, and pauses in speech."""
