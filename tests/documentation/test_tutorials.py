"""What the tutorials say, done: every command line in order on a small corpus, every block of Python, the server.

A line gets options that make it a matter of seconds. tests/adapt/test_tutorial.py does the same for your_language.md.
"""

import shlex
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import soundfile
from tests.bursts import burst
from tests.documentation.pages import DOCS, ROOT, code, command_lines, python_blocks
from tests.hub_double import repositories
from tests.hub_double.in_process import turn_to
from tests.hub_double.server import HubDouble
from tests.run_here import run_here
from tests.serve.conftest import serving

import wav2vec2
from wav2vec2 import cli

pytestmark = pytest.mark.slow

SENTENCES = (
    "the words that were said",
    "quick foxes jump over lazy brown dogs",
    "anna went to saint malo with six big vans",
    "pack my box with five dozen jugs",
)
_TRAINING = "--train.updates 2 --batch.seconds 20 --batch.workers 0 --train.threads 1 --log.no-tensorboard"
QUICK = {
    "adapt": "--updates 2 --trials 1 --workers 1 --threads 1 --device cpu --set *:batch.workers=0",
    "prepare": "--workers 1",
    "pretrain": f"{_TRAINING} --model.architecture tiny --units.clusters 8",
    "finetune": _TRAINING,
    "tune": "--trials 1 --workers 0",
    "evaluate": "--workers 0",
    "transcribe": "--device cpu",
}


def write_corpus(folder: Path) -> None:
    """Noises in place of speech: four speakers, a table of transcripts with splits, a text, and recordings to try."""
    rows = ["path,text,speaker,split"]
    for number in range(16):
        speaker = f"speaker{number % 4:02d}"
        file = folder / "recordings" / speaker / f"{number // 4:03d}.ogg"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, burst(2.5, number), 16_000)
        split = "valid" if number % 4 == 3 else "train"
        rows.append(f"{file.relative_to(folder)},{SENTENCES[number // 4]},{speaker},{split}")
    (folder / "transcripts.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "text.txt").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    for name in ("call.wav", "talk.mp3", "a.wav", "b.wav"):
        soundfile.write(folder / name, burst(2.0, 99), 16_000)


def run_lines(page: Path) -> list[str]:
    """Run the command lines of a page that end by themselves, and return them."""
    lines = [line for line in command_lines(page) if not line.startswith("wav2vec2 serve")]
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        assert cli.main([*words, *QUICK.get(words[0], "").split()]) == 0, line
    return lines


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the tutorial of pre-training was followed."""
    folder = tmp_path_factory.mktemp("trained")
    write_corpus(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert len(run_lines(DOCS / "recogniser.md")) == 13
    return folder


def test_pretraining_from_scratch(trained: Path) -> None:
    assert {"lm.arpa", "preset.toml", "report", "runs", "data"} <= {path.name for path in trained.iterdir()}
    assert isinstance(wav2vec2.load(trained / "runs/finetune"), wav2vec2.Wav2Vec2ForCTC)


def test_the_block_of_python(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)
    (block,) = python_blocks(DOCS / "python.md")
    exec(compile(block, "python.md", "exec"), {})
    assert "-->" in capsys.readouterr().out  # the captions
    assert (trained / "out/config.json").is_file()


def test_the_readmes_line_of_python(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    line = 'wav2vec2.Transcriber("runs/finetune/model")("call.wav").text'
    assert line in (ROOT / "README.md").read_text(encoding="utf-8")
    assert isinstance(eval(line), str)


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="curl or openssl is not installed")
def test_the_servers_page(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines in order. A server listens on a free port, so its address in the page is replaced."""
    monkeypatch.chdir(trained)
    monkeypatch.setenv("NO_PROXY", "*")
    page = DOCS / "serving.md"
    lines = [line.strip() for line in code(page.read_text(encoding="utf-8")).splitlines()]
    assert lines.pop(0) == "pip install 'wav2vec2[serve]'"
    assert [line for line in lines if line.startswith("wav2vec2")] == command_lines(page)
    blocks, answers = python_blocks(page), []
    assert len(blocks) == 1
    with ExitStack() as running:
        here = ""
        for line in lines:
            if line.startswith("wav2vec2 serve --model "):
                running.close()
                model, *options = shlex.split(line)[3:]
                served = running.enter_context(serving(Path(model), *options))
                here = f"127.0.0.1:{urlsplit(served.address).port}"
                while blocks:  # the first server asks for no key
                    exec(blocks.pop().replace("127.0.0.1:8000", here), {})
            else:
                words = ["bash", "-c", line.replace("127.0.0.1:8000", here)]
                done = subprocess.run(words, capture_output=True, text=True)
                assert done.returncode == 0, (line, done.stderr)
                answers += [done.stdout] * line.startswith("curl ")
    assert ['"text"' in answer for answer in answers] == [True] * 3, answers


def test_the_quick_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_corpus(tmp_path)
    table = (tmp_path / "transcripts.csv").read_text(encoding="utf-8").replace("recordings/", "").replace(",split", "")
    rows = [line.removesuffix(",train").removesuffix(",valid") for line in table.splitlines()]
    (tmp_path / "transcripts.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    monkeypatch.setattr("wav2vec2.pipeline.engine.run_command", run_here)
    monkeypatch.chdir(tmp_path)
    with HubDouble() as hub:
        hub.add("facebook/wav2vec2-base-960h", repositories.base_960h(tmp_path / "english"))
        hub.add("facebook/wav2vec2-xls-r-300m", repositories.xls_r_300m(tmp_path / "published"))
        turn_to(hub, tmp_path / "cache", monkeypatch)
        assert len(run_lines(DOCS / "quick_start.md")) == 5
    assert {path.name for path in Path("transcripts").iterdir()} == {"talk.srt", "talk.json"}
    capsys.readouterr()
    (block,) = python_blocks(DOCS / "quick_start.md")
    exec(block, {})
    assert capsys.readouterr().out.count("[") == 2
