"""The command line: parsing only. Every command is a dataclass of options and a function of it in a module of its own.

Modules are imported when their command is chosen, so that ``wav2vec2 --help`` does not wait for torch. Exit status: 0;
2 with one line on stderr when the user can mend the matter (``UserError`` or wrong options); 130 after Ctrl-C; 141 when
the reader of our output went away, as a shell reports it. A traceback is a bug.
"""

import contextlib
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wav2vec2 import __version__
from wav2vec2.errors import UserError


@dataclass(frozen=True)
class Command:
    """Where a command lives: ``module.options`` is its dataclass, ``module.function`` takes an instance of it."""

    module: str
    options: str
    summary: str
    function: str = "run"
    recipe: bool = False
    """The first argument may be a TOML file whose values become the defaults of the options."""


COMMANDS: dict[str, Command] = {
    "prepare librispeech": Command(
        "data.prepare.command", "PrepareLibriSpeech", "manifest of LibriSpeech-like folders"
    ),
    "prepare folder": Command("data.prepare.command", "PrepareFolder", "manifest of a folder of unlabelled recordings"),
    "prepare table": Command(
        "data.prepare.command", "PrepareTable", "manifest of a CSV, TSV or JSONL of path and text"
    ),
    "prepare fairseq": Command("data.prepare.command", "PrepareFairseq", "manifest of fairseq .tsv/.ltr/.wrd files"),
    "prepare librilight": Command(
        "data.prepare.published", "PrepareLibriLight", "manifest of Libri-light, cut at its own pauses"
    ),
    "prepare limited": Command(
        "data.prepare.published", "PrepareLimited", "manifest of Libri-light's 10 min, 1 h and 10 h sets"
    ),
    "prepare timit": Command(
        "data.prepare.published", "PrepareTimit", "manifest of your copy of TIMIT, phones as transcripts"
    ),
    "prepare commonvoice": Command("data.prepare.published", "PrepareCommonVoice", "manifest of Common Voice folders"),
    "prepare mls": Command(
        "data.prepare.published", "PrepareMls", "manifest of Multilingual LibriSpeech, or its limited sets"
    ),
    "prepare fleurs": Command("data.prepare.published", "PrepareFleurs", "manifest of FLEURS or tables like its own"),
    "prepare shards": Command("data.shards", "PrepareShards", "tar shards with a byte index, from a manifest"),
    "pretrain": Command(
        "train.pretrain.command", "PretrainConfig", "learn representations from raw speech", recipe=True
    ),
    "finetune": Command("train.finetune.command", "FinetuneConfig", "teach a model to write transcripts", recipe=True),
    "lm transformer": Command(
        "train.language_model.command", "LanguageModelConfig", "train a Transformer LM on text", recipe=True
    ),
    "transcribe": Command("inference.transcribe", "TranscribeOptions", "text of audio files"),
    "align": Command("inference.align", "AlignOptions", "times of the words and characters of a known text"),
    "evaluate": Command("evaluation.evaluate", "EvaluateConfig", "word and character error rate on a manifest"),
    "lm ngram": Command("lm.ngram.command", "NgramOptions", "n-gram language model and lexicon from text"),
    "lm perplexity": Command("lm.perplexity", "PerplexityOptions", "perplexity of a text under a language model"),
    "tune": Command("evaluation.tune", "TuneOptions", "language model weight and word score on a development set"),
    "features": Command("inference.features", "FeaturesOptions", "vectors of the model's layers for every frame"),
    "units": Command("inference.units", "UnitsOptions", "the quantizer's choice for every frame"),
    "export": Command("export.command", "ExportOptions", "one file for ONNX Runtime or torch.export, behind a gate"),
    "info": Command("checkpoints.info", "InfoOptions", "what a model is: family, sizes, vocabulary, normalisation"),
    "convert": Command(
        "checkpoints.convert", "ConvertOptions", "a model in the format of another tool, with all that belongs to it"
    ),
    "experiment low-label": Command(
        "experiment.low_label", "LowLabelOptions", "few labels, with and without pre-training"
    ),
    "experiment ablation": Command("experiment.ablation", "AblationOptions", "variants of the pre-training (table 4)"),
    "experiment table1": Command("experiment.librispeech", "Table1Options", "10 min to 100 h of labels (tables 1, 9)"),
    "experiment table2": Command(
        "experiment.librispeech", "Table2Options", "960 h of labels (tables 2, 10)", function="run_table2"
    ),
    "experiment timit": Command("experiment.timit", "TimitOptions", "phone recognition on TIMIT (table 3)"),
    "report": Command("report.runs", "ReportOptions", "curves of training runs on one page"),
    "report hours": Command("report.label_hours", "HoursOptions", "error rate against hours of labels, from a table"),
    "report codes": Command("report.codes.command", "CodesOptions", "phones by codewords of a pre-trained model"),
    "report utterance": Command("report.utterance", "UtteranceOptions", "spectrogram, emissions and alignment"),
    "demo": Command("demo.command", "DemoOptions", "the whole way on a small corpus in minutes"),
}

_UNWRITABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),  # a file where a folder should be, or the reverse
}


def entry() -> None:
    """The ``wav2vec2`` script: run ``main`` on this process's arguments and leave with its status."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; never raises for what a user can cause."""
    try:
        status = _dispatch(list(arguments))
        sys.stdout.flush()
    except UserError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        return _complain(f"{error.filename or 'output'}: {error.strerror}; free space or choose another place")
    return status


def _complain(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["--version"]:
        print(f"wav2vec2 {__version__}")
        return 0
    name, rest = _choose(arguments)
    if name is None:
        return 0
    command = COMMANDS[name]
    module = importlib.import_module(f"wav2vec2.{command.module}")
    options = _parse(name, getattr(module, command.options), rest, recipe=command.recipe)
    if options is not None:
        getattr(module, command.function)(options)
    return 0


def _choose(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The command that the first one or two words name, and the words after it; None after a help page."""
    for words in (2, 1):  # "report codes" is a command beside "report"
        name = " ".join(arguments[:words])
        if len(arguments) >= words and name in COMMANDS:
            return name, arguments[words:]
    group = arguments[0] if arguments and any(known.startswith(f"{arguments[0]} ") for known in COMMANDS) else ""
    rest = arguments[1:] if group else arguments
    if rest and rest[0] not in ("-h", "--help"):
        raise UserError(f"no command '{' '.join(arguments[: 1 + bool(group)])}': see wav2vec2 {group} --help")
    _print_commands(group)
    return None, []


def _print_commands(group: str) -> None:
    shown = {name: command for name, command in COMMANDS.items() if name.startswith(group)}
    print(f"usage: wav2vec2 {group or 'COMMAND'} ...\n")
    for name, command in shown.items():
        print(f"  {name:<22}{command.summary}")
    print("\n'wav2vec2 COMMAND --help' tells every option of a command; --version prints the version.")


def _parse(name: str, options: type[Any], arguments: list[str], *, recipe: bool) -> Any:
    """An instance of ``options``, or None after its help page; raises UserError with one line for wrong arguments."""
    import tyro

    settings: dict[str, Any] = {} if recipe else {"config": (tyro.conf.PositionalRequiredArgs,)}
    program = f"wav2vec2 {name}"
    if recipe:
        program += " [RECIPE.toml]"
        if arguments and not arguments[0].startswith("-"):
            from wav2vec2.config import load_recipe

            settings["default"] = load_recipe(Path(arguments[0]), options)
            arguments = arguments[1:]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(options, args=arguments, prog=program, **settings)
    except SystemExit as leaving:
        if leaving.code in (0, None):
            return None
        raise UserError(f"{_one_line(said.getvalue())}: see wav2vec2 {name} --help") from None


def _one_line(box: str) -> str:
    """The message inside the frame that tyro draws: without title, rules, the option's help and pointers to help.

    Where the output's encoding is unknown, the frame is drawn with "-", "+" and "|", or is only a rule below the title.
    """
    lines = [line.strip("│| \t") for line in box.splitlines() if line.strip()]
    if len(lines) > 1 and not lines[1].strip("-─"):
        lines = lines[1:]
    kept: list[str] = []
    for line in lines:
        if line.startswith(("For full helptext", "Argument helptext")):
            break
        if line.strip("-─+") and not line.startswith(("╭", "╰", "─", "+-")):
            kept.append(line)
    return " ".join(kept)
