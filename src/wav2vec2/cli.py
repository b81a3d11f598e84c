"""The command line: it finds the command, parses its options and reports errors.

A command is a dataclass of options and a function in a module of its own. That module is imported when the command is
chosen, so that ``wav2vec2 --help`` does not wait for torch.

Exit status: 0; 2 with one line on stderr for wrong options and other errors that the user can fix (``UserError``); 75
if a training run was asked to stop before its end (SIGTERM), and has saved; 130 after Ctrl-C; 141, as in a shell, if
the reader of stdout has closed it. A traceback is a bug.
"""

import contextlib
import errno
import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from wav2vec2 import __version__
from wav2vec2.errors import FileWarning, Stopped, UserError, quoted, shortened
from wav2vec2.input_file import refuse_huge, refuse_names


@dataclass(frozen=True)
class Command:
    """Where to find a command: ``module.options`` is its dataclass, ``module.function`` takes an instance of it."""

    module: str
    options: str
    summary: str
    function: str = "run"
    recipe: bool = False
    """The first argument may be a TOML file, whose values become the defaults of the options."""


_PREPARE, _PUBLISHED, _LAYOUTS = "data.prepare.command", "data.prepare.published", "data.prepare.layouts"

GROUPS: dict[str, dict[str, Command]] = {
    "First steps": {
        "demo": Command("demo.command", "DemoOptions", "run the whole pipeline on a small corpus, in minutes"),
    },
    "Data ('prepare' writes a manifest, the table of utterances that the other commands read)": {
        "prepare auto": Command(
            _LAYOUTS, "PrepareAuto", "find out which of these layouts a folder has, and prepare it", function="run_auto"
        ),
        "prepare folder": Command(_PREPARE, "PrepareFolder", "recordings without transcripts"),
        "prepare pairs": Command(_LAYOUTS, "PreparePairs", "recordings with a .txt, .lab, .srt or .vtt each"),
        "prepare table": Command(_PREPARE, "PrepareTable", "CSV, TSV or JSON tables of paths and texts"),
        "prepare huggingface": Command(_LAYOUTS, "PrepareHuggingFace", "Parquet with audio; folders with metadata.csv"),
        "prepare kaldi": Command(_LAYOUTS, "PrepareKaldi", "Kaldi's data directories (wav.scp, segments, text)"),
        "prepare lhotse": Command(_LAYOUTS, "PrepareLhotse", "lhotse's cuts, or recordings and supervisions"),
        "prepare fairseq": Command(_PREPARE, "PrepareFairseq", "fairseq's .tsv, with .wrd, .ltr or .phn"),
        "prepare librispeech": Command(_PREPARE, "PrepareLibriSpeech", "LibriSpeech"),
        "prepare librilight": Command(_PUBLISHED, "PrepareLibriLight", "Libri-light, split at pauses"),
        "prepare limited": Command(_PUBLISHED, "PrepareLimited", "Libri-light's transcribed 10 min, 1 h or 10 h"),
        "prepare timit": Command(_PUBLISHED, "PrepareTimit", "TIMIT, with phones as transcripts"),
        "prepare commonvoice": Command(
            _PUBLISHED, "PrepareCommonVoice", "Common Voice, as downloaded or from the hub; Spontaneous Speech"
        ),
        "prepare mls": Command(_PUBLISHED, "PrepareMls", "Multilingual LibriSpeech, or its limited sets"),
        "prepare fleurs": Command(_PUBLISHED, "PrepareFleurs", "FLEURS, or tables in its format"),
        "prepare voxpopuli": Command(_LAYOUTS, "PrepareVoxPopuli", "VoxPopuli's transcribed speech"),
        "prepare libritts": Command(_LAYOUTS, "PrepareLibriTts", "LibriTTS, LibriTTS-R"),
        "prepare vctk": Command(_LAYOUTS, "PrepareVctk", "VCTK"),
        "prepare ljspeech": Command(_LAYOUTS, "PrepareLjSpeech", "LJSpeech, M-AILABS, CSS10: tables with pipes"),
        "prepare aishell": Command(_LAYOUTS, "PrepareAishell", "AISHELL-1"),
        "prepare stm": Command(_LAYOUTS, "PrepareStm", "TED-LIUM, or other recordings with .stm files"),
        "prepare shards": Command("data.shards", "PrepareShards", "pack the recordings of a manifest into tar files"),
    },
    "Training": {
        "pretrain": Command(
            "train.pretrain.command", "PretrainConfig", "pre-train a model on audio without transcripts", recipe=True
        ),
        "finetune": Command(
            "train.finetune.command", "FinetuneConfig", "fine-tune a model on transcribed speech (CTC)", recipe=True
        ),
        "benchmark": Command(
            "train.benchmark.command", "BenchmarkOptions", "measure speed, memory and where the time goes"
        ),
    },
    "Language models": {
        "lm ngram": Command("lm.ngram.command", "NgramOptions", "estimate an n-gram model and a lexicon from text"),
        "lm transformer": Command(
            "train.language_model.command", "LanguageModelConfig", "train a Transformer on text", recipe=True
        ),
        "lm perplexity": Command("lm.perplexity", "PerplexityOptions", "measure the perplexity of a text"),
    },
    "Recognition": {
        "transcribe": Command(
            "inference.transcribe_command", "TranscribeOptions", "transcribe audio files, or a manifest"
        ),
        "align": Command("inference.align", "AlignOptions", "find when each word and character of a text is spoken"),
        "evaluate": Command("evaluation.evaluate", "EvaluateConfig", "measure word and character error rates"),
        "tune": Command("evaluation.tune", "TuneOptions", "tune the language model weight on a development set"),
        "pseudo-label": Command(
            "evaluation.pseudo_label", "PseudoLabelOptions", "label untranscribed speech, to fine-tune on it"
        ),
    },
    "Representations": {
        "features": Command("inference.features", "FeaturesOptions", "write the outputs of a model's layers"),
        "units": Command("inference.units", "UnitsOptions", "write the quantizer's codewords"),
    },
    "Model files": {
        "info": Command("checkpoints.info", "InfoOptions", "describe a model: sizes, vocabulary, normalisation"),
        "convert": Command("checkpoints.convert", "ConvertOptions", "convert a model to the format of another tool"),
        "export": Command("export.command", "ExportOptions", "export a model to ONNX or torch.export"),
    },
    "Experiments of the paper": {
        "experiment low-label": Command(
            "experiment.low_label", "LowLabelOptions", "few labels, with and without pre-training"
        ),
        "experiment table1": Command(
            "experiment.librispeech", "Table1Options", "10 min to 100 h of labels (tables 1 and 9)"
        ),
        "experiment table2": Command(
            "experiment.librispeech", "Table2Options", "960 h of labels (tables 2 and 10)", function="run_table2"
        ),
        "experiment timit": Command("experiment.timit", "TimitOptions", "phone recognition on TIMIT (table 3)"),
        "experiment ablation": Command("experiment.ablation", "AblationOptions", "variants of pre-training (table 4)"),
    },
    "Reports": {
        "report": Command("report.runs", "ReportOptions", "learning curves of training runs"),
        "report hours": Command("report.label_hours", "HoursOptions", "error rates against hours of labels"),
        "report codes": Command("report.codes.command", "CodesOptions", "which phones each codeword stands for"),
        "report utterance": Command("report.utterance", "UtteranceOptions", "spectrogram and alignment of a recording"),
    },
}
"""The commands in the order of the help page, under its headings."""

COMMANDS: dict[str, Command] = {name: command for group in GROUPS.values() for name, command in group.items()}

_LONGEST_MESSAGE = 400
_UNWRITABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),  # a file in place of a folder, or the reverse
}


_PYTHONS_WARNING = warnings.showwarning


def entry() -> None:
    """Run the command that this process was started with, and exit with its status: the ``wav2vec2`` script."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; user errors are printed, not raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", FileWarning)
            warnings.showwarning = _show_warning
            status = _dispatch(list(arguments))
        sys.stdout.flush()
    except UserError as error:
        return _complain(str(error))
    except Stopped as stopped:  # it has said so
        return stopped.status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Otherwise Python would report it again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        return _complain(f"{error.filename or 'output'}: {error.strerror}; free some space or choose another folder")
    return status


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
    if issubclass(category, FileWarning):
        print(message, file=sys.stderr)
    else:
        _PYTHONS_WARNING(message, category, *place, **options)


def _complain(message: str) -> int:
    # The name of a stranger's file may hold what a terminal obeys.
    shown = "".join(letter if letter.isprintable() else quoted(letter)[1:-1] for letter in " ".join(message.split()))
    print(f"error: {shown}", file=sys.stderr)
    return 2


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["--version"]:
        print(f"wav2vec2 {__version__}")
        return 0
    name, rest = _choose(arguments)
    if name is None:
        return 0
    refuse_names(rest)
    command = COMMANDS[name]
    module = importlib.import_module(f"wav2vec2.{command.module}")
    options = _parse(name, getattr(module, command.options), rest, recipe=command.recipe)
    if options is not None:
        refuse_huge(options, "--")
        getattr(module, command.function)(options)
    return 0


def _choose(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Return the command that the first one or two words name, and the remaining words; None after a help page."""
    for words in (2, 1):  # "report codes" is a command beside "report"
        name = " ".join(arguments[:words])
        if len(arguments) >= words and name in COMMANDS:
            return name, arguments[words:]
    group = arguments[0] if arguments and any(known.startswith(f"{arguments[0]} ") for known in COMMANDS) else ""
    rest = arguments[1:] if group else arguments
    if rest and rest[0] not in ("-h", "--help"):
        raise UserError(
            f"no command '{shortened(' '.join(arguments[: 1 + bool(group)]))}': see wav2vec2 {group} --help"
        )
    _print_commands(group)
    return None, []


def _print_commands(group: str) -> None:
    print(f"usage: wav2vec2 {group or 'COMMAND'} ...")
    for heading, commands in GROUPS.items():
        shown = {name: command for name, command in commands.items() if name.startswith(group)}
        if shown:
            print(f"\n{heading}:")
        for name, command in shown.items():
            print(f"  {name:<22}{command.summary}")
    print("\n'wav2vec2 COMMAND --help' describes the options of a command; --version prints the version.")


def _parse(name: str, options: type[Any], arguments: list[str], *, recipe: bool) -> Any:
    """Return an instance of ``options``, or None after a help page. Raises UserError for wrong arguments."""
    import tyro

    settings: dict[str, Any] = {} if recipe else {"config": (tyro.conf.PositionalRequiredArgs,)}
    program = f"wav2vec2 {name}"
    if recipe:
        program += " [RECIPE.toml]"
        if arguments and not arguments[0].startswith("-"):
            from wav2vec2.config import load_recipe

            settings["default"] = load_recipe(Path(arguments[0]), options)
            arguments = arguments[1:]
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages), _metavars():
            return tyro.cli(options, args=arguments, prog=program, **settings)
    except SystemExit as leaving:
        if leaving.code in (0, None):
            return None
        raise UserError(f"{_one_line(messages.getvalue())[:_LONGEST_MESSAGE]}: see wav2vec2 {name} --help") from None


def _metavars() -> contextlib.AbstractContextManager[None]:
    """Within this context, help pages show an optional value as PATH, not as {None}|PATH."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    registry = ConstructorRegistry()
    inside = False

    @registry.primitive_rule
    def optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        nonlocal inside
        if inside or type(None) not in get_args(info.type):
            return None
        inside = True
        try:
            spec = ConstructorRegistry.get_primitive_spec(info)
        finally:
            inside = False
        if not isinstance(spec, PrimitiveConstructorSpec):
            return None
        return replace(spec, metavar=spec.metavar.replace("{None}|", "").replace("{None,", "{"))

    return registry


def _one_line(box: str) -> str:
    """Return the message in a framed error of tyro's, without the title, the rules, and the help on the option.

    Where the encoding of stderr is unknown, the frame consists of "-", "+" and "|", or of a rule below the title.
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
