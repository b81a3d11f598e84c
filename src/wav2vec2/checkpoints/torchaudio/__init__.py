"""torchaudio's state dicts, read and written."""
