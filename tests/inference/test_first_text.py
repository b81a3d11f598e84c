"""What a transcription of one recording imports: not the libraries of manifests, charts and training."""

import subprocess
import sys


def test_one_recording_needs_no_library_of_tables() -> None:
    code = (
        "import sys, wav2vec2.inference.transcribe_command;"
        "print([name for name in ('pyarrow', 'matplotlib', 'fsspec', 'ray', 'numba') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
