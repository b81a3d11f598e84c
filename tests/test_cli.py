import errno
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest

from wav2vec2 import cli
from wav2vec2.cli import arguments as command_line
from wav2vec2.cli import program
from wav2vec2.errors import UserError


@dataclass(frozen=True)
class Train:
    """How to train."""

    lr: float = 1e-3
    """Peak learning rate."""


@dataclass(frozen=True)
class Options:
    """A command of the tests."""

    model: Path
    """What to read."""
    train: Train = field(default_factory=Train)
    split: str | None = None
    """Only this split."""
    case: Literal["upper", "lower"] | None = None
    """Another case."""


@pytest.fixture
def probe(monkeypatch):
    """A command `probe` whose function can be chosen; returns what it was called with."""
    calls = []
    module = SimpleNamespace(Options=Options, run=calls.append)
    monkeypatch.setitem(cli.COMMANDS, "probe", cli.Command("probe", "Options", "a test"))
    monkeypatch.setattr(program.importlib, "import_module", lambda name: module)
    return SimpleNamespace(calls=calls, module=module)


def test_options_reach_the_command(probe):
    assert cli.main(["probe", "here", "--train.lr", "0.5"]) == 0
    assert probe.calls == [Options(Path("here"), Train(0.5))]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["probe"], "Missing"),
        (["probe", "x", "--train.lt", "3"], "--train.lr"),
        (["probe", "x", "--train.lr", "abc"], "'abc' is not a number"),
        (["nonsense"], "no command 'nonsense'"),
        (["prepare", "nonsense"], "no command 'prepare nonsense'"),
    ],
)
def test_wrong_arguments_are_one_line_and_status_2(probe, capsys, arguments, part):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert part in err
    assert "--help" in err
    assert probe.calls == []


def test_a_frame_without_line_drawing_characters_leaves_no_rules_in_the_message():
    box = (
        "+- Value error ------+\n| Error parsing --lr: abc |\n| ------------------ |\n"
        "| Argument helptext: |\n|     --lr FLOAT |\n| For full helptext, see x --help |\n+--------------------+\n"
    )
    assert command_line._one_line(box) == "Error parsing --lr: abc"
    bare = " Value error  \n ----------- \n  Error parsing --lr: abc \n  ----- \n  For full helptext, see x --help\n\n"
    assert command_line._one_line(bare) == "Error parsing --lr: abc"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["prepare"], ["prepare", "--help"], ["--version"]])
def test_help_of_the_program_and_of_a_group(capsys, arguments):
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "wav2vec2" in out
    assert ("prepare librispeech" in out) == (arguments != ["--version"])
    assert ("transcribe audio files" in out) == (arguments in ([], ["--help"], ["-h"]))


def test_help_of_a_command(probe, capsys):
    assert cli.main(["probe", "--help"]) == 0
    out = capsys.readouterr().out
    assert "Peak learning rate." in out
    assert "--split TEXT " in out
    assert "--case {upper,lower}" in out
    assert probe.calls == []
    assert cli.main(["probe", "here", "--split", "None", "--case", "None"]) == 0
    assert probe.calls == [Options(Path("here"))]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("a.wav: not audio;\nremove it"), 2, "error: a.wav: not audio; remove it"),
        (OSError(errno.ENOSPC, "No space left on device", "out"), 2, "error: out: No space left on device;"),
        (FileExistsError(errno.EEXIST, "File exists", "out"), 2, "error: out: File exists; free some space or"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a.wav/x"), 2, "error: a.wav/x: Not a directory;"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_of_a_command(probe, capsys, error, status, line):
    def fail(options):
        raise error

    probe.module.run = fail
    assert cli.main(["probe", "x"]) == status
    err = capsys.readouterr().err
    assert err.startswith(line)
    assert len(err.splitlines()) == 1


def test_a_bug_keeps_its_traceback(probe):
    def fail(options):
        raise ZeroDivisionError

    probe.module.run = fail
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe", "x"])


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_shows_its_help(capsys, name):
    assert cli.main([*name.split(), "--help"]) == 0
    assert f"wav2vec2 {name}" in capsys.readouterr().out


def test_help_does_not_import_torch():
    code = "import sys; from wav2vec2 import cli; cli.main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


def test_a_closed_pipe_is_not_an_error():
    command = f"{sys.executable} -m wav2vec2 --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


@dataclass(frozen=True)
class Recipe:
    """A configuration whose fields all have defaults."""

    model: str = ""
    train: Train = field(default_factory=Train)


def test_recipe_gives_the_defaults(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('model = "m"\n[train]\nlr = 0.25\n')
    parsed = command_line.parsed("probe", Recipe, [str(recipe), "--model", "n"], recipe=True)
    assert parsed == Recipe("n", Train(0.25))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train.lr", "abc"], "--train.lr: 'abc' is not a number: see"),
        (["--train.updates", "1.5"], "--train.updates: '1.5' is not a whole number: see"),
        (["--train.learning-rate", "3"], "--train.learning-rate: no such option; did you mean --train.lr?: see"),
        (["--train.lrr", "3"], "--train.lrr: no such option; did you mean --train.lr?: see"),
        (["--lr", "3"], "--lr: no such option; did you mean --train.lr?: see"),
        (["--batch_seconds", "3"], "--batch_seconds: no such option; did you mean --batch.seconds?: see"),
        (["--zebra"], "--zebra: no such option: see"),
    ],
)
def test_a_wrong_option_is_named_with_the_nearest_one_and_a_wrong_value_in_plain_words(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert cli.main(["pretrain", *words]) == 2
    assert capsys.readouterr().err == f"error: {message} wav2vec2 pretrain --help\n"


def test_a_packaged_recipe_is_found_by_name_and_one_of_another_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["pretrain", "pretrain_small"]) == 2
    assert "data.manifest is not set" in capsys.readouterr().err
    assert cli.main(["pretrain", "finetune_small.toml"]) == 2
    assert "use 'wav2vec2 finetune finetune_small.toml'" in capsys.readouterr().err
    assert cli.main(["finetune", "finetune_smal"]) == 2
    assert "no such recipe; did you mean finetune_small?" in capsys.readouterr().err
    (tmp_path / "mine.toml").write_text('extends = "lm_word_small"\n')
    assert cli.main(["lm", "transformer", "mine.toml"]) == 2
    assert "data.text" in capsys.readouterr().err
    assert cli.main(["finetune", "mine.toml"]) == 2
    assert "use 'wav2vec2 lm transformer mine.toml'" in capsys.readouterr().err


def test_a_wrong_recipe_is_one_line(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("[train]\nlt = 0.25\n")
    with pytest.raises(UserError, match=r"unknown key 'train.lt'.*train.lr"):
        command_line.parsed("probe", Recipe, [str(recipe)], recipe=True)


@pytest.mark.parametrize("kind", ["pretraining", "ctc"])
def test_info_describes_a_model(tmp_path, capsys, kind):
    from wav2vec2.checkpoints.huggingface.directory import save
    from wav2vec2.model.architecture import ARCHITECTURES
    from wav2vec2.model.ctc import Wav2Vec2ForCTC
    from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
    from wav2vec2.text.vocabulary import Vocabulary

    vocabulary = Vocabulary.from_transcripts(["AB BA"])
    tiny = ARCHITECTURES["tiny"]
    model = Wav2Vec2ForPretraining(tiny) if kind == "pretraining" else Wav2Vec2ForCTC(tiny, vocabulary)
    save(model, tmp_path / "m")
    assert cli.main(["info", str(tmp_path / "m")]) == 0
    out = capsys.readouterr().out
    assert f"{sum(p.numel() for p in model.parameters()):,}" in out
    assert ("symbols: <pad>" in out) == (kind == "ctc")
    assert ("quantizer" in out) == (kind == "pretraining")


def test_info_of_nothing(capsys):
    assert cli.main(["info", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
