import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import wav2vec2

SCRIPT = """
from pathlib import Path
from typing import assert_type

import numpy as np
import torch
import wav2vec2

model = wav2vec2.load("facebook/wav2vec2-base-960h")
if isinstance(model, wav2vec2.Wav2Vec2ForCTC):
    assert_type(model.vocabulary, wav2vec2.Vocabulary | None)
hidden, lengths = model.encode(torch.zeros(1, 16_000), layer=3)
with wav2vec2.Transcriber(model, lm="lm.bin", hotwords={"anna": 8.0}, nbest=5, device="cpu") as transcriber:
    assert_type(transcriber("call.m4a"), wav2vec2.Transcript)
    assert_type(transcriber(np.zeros(16_000, dtype=np.float32)).text, str)
    assert_type(transcriber([Path("a.wav"), Path("b.wav")]), list[wav2vec2.Transcript])
    transcriber(["a.wav", b"RIFF", torch.zeros(400)])[0].words[0].start + 1.0
    for result in transcriber.stream(Path("calls").glob("*.wav")):
        print(result.message if isinstance(result, wav2vec2.Failure) else result.text)
session = wav2vec2.Transcriber(model).live(wav2vec2.LiveSettings(delay="medium", chunk=0.48))
for event in [*session.push(np.zeros(1600, dtype=np.float32)), *session.finish()]:
    print(event.kind, event.text, [word.start for word in event.words])
wav2vec2.Transcriber("runs/finetune/model", decoding=wav2vec2.DecodingOptions(preset="tuned.toml"))
alignment = wav2vec2.Aligner(Path("model"), window_seconds=20.0)("call.wav", "the words")
assert_type(alignment, wav2vec2.Alignment)
alignment.words[0].characters[0].text.upper()
try:
    wav2vec2.save(model, "out")
except wav2vec2.UserError as error:
    print(error)
wav2vec2.nothing  # type: ignore[attr-defined]
wav2vec2.Transcriber(model, beams=3)  # type: ignore[call-arg]
wav2vec2.Aligner(model)(["a.wav"], "one text")  # type: ignore[arg-type]
"""


def test_public_names_are_found_and_listed() -> None:
    for name in wav2vec2.__all__:
        assert getattr(wav2vec2, name).__name__ == name
    assert set(wav2vec2.__all__) <= set(dir(wav2vec2))


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, wav2vec2; wav2vec2.UserError; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.slow
def test_a_script_of_a_user_is_typed(tmp_path: Path) -> None:
    package = Path(str(resources.files("wav2vec2")))
    assert (package / "py.typed").is_file()
    (tmp_path / "script.py").write_text(SCRIPT)
    cache = Path(__file__).parents[1] / ".mypy_cache" / "script"  # seconds with it, half a minute without
    options = ["--strict", "--config-file=", "--follow-imports=silent", f"--cache-dir={cache}"]
    command = [sys.executable, "-m", "mypy", *options, "script.py"]
    path = {**os.environ, "MYPYPATH": str(package.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
