"""Sound in: files of any container to mono float32 at 16 kHz, and lists of recordings to be read later."""
