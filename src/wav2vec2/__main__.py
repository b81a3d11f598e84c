"""``python -m wav2vec2``: the same as the ``wav2vec2`` command."""

from wav2vec2.cli import entry

if __name__ == "__main__":
    entry()
