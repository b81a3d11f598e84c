"""``wav2vec2 lm ngram``: from text to an ARPA file and, where asked for, the lexicon of its words."""

import contextlib
import gzip
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Literal, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tyro.conf import Positional, arg

from wav2vec2.errors import UserError
from wav2vec2.lm.corpus import Corpus
from wav2vec2.lm.ngram.kneser_ney import FALLBACK_DISCOUNTS, Estimate, KneserNey, thresholds_of
from wav2vec2.lm.words import SENTENCE_MARKS, can_spell, check_case, ngram_words, write_spellings
from wav2vec2.output_file import writing
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

_SAMPLED = 1000
Say = Callable[[str, float], None]


@dataclass(frozen=True)
class NgramOptions:
    """Estimate an n-gram language model (interpolated modified Kneser-Ney) and write it as ARPA."""

    text: Annotated[tuple[Path, ...], Positional, arg(metavar="TEXT")]
    """Text files, one sentence a line, plain or .gz."""
    order: int = 4
    """Words of the longest n-gram."""
    out: Path = Path("lm.arpa")
    """The ARPA file to write; gzipped if its name ends in .gz."""
    prune: tuple[int, ...] = ()
    """Leave out n-grams that occur at most so often, one number an order (0 0 1 1); the last holds for all further."""
    vocab: Path | None = None
    """The only words of the model (one a line; a lexicon will do): others become <unk>, unseen ones get what an unseen
    word gets."""
    case: Literal["keep", "upper", "lower"] = "keep"
    """Case to bring the text to: that of the recogniser's letters."""
    punctuation: Literal["keep", "remove"] = "keep"
    """Whether punctuation stays in the text."""
    ids: bool = False
    """Each line begins with an identifier that is no word (LibriSpeech's *.trans.txt, Kaldi's text)."""
    lexicon: Path | None = None
    """Also write the lexicon: each word of the model and its letters, as the lexicon search and flashlight read it."""
    symbols: Path | None = None
    """A recogniser's model directory: the lexicon is spelled in its symbols, words it cannot spell are left out."""
    engine: Literal["own", "lmplz"] = "own"
    """Our estimator, or KenLM's lmplz from PATH (on all cores: for billions of words)."""
    memory: int = 1024
    """MiB for n-grams; what is more goes to disk. The list of words comes on top."""
    temporary: Path | None = None
    """Folder for sorted runs on disk (about 50 bytes a word of text); the system's, if not given."""


def run(options: NgramOptions) -> None:
    """Estimate, write and report; raises UserError for text, options or files that cannot be."""
    prune = thresholds_of(options.prune, options.order)
    normalization = TextNormalization(case=options.case, punctuation=options.punctuation)
    corpus = Corpus(options.text, normalization, ids=options.ids)
    vocabulary = None if options.vocab is None else read_word_list(options.vocab, normalization)
    symbols = None if options.symbols is None else Vocabulary.load(options.symbols)
    _check_words(options, corpus, vocabulary, symbols)
    if options.temporary is not None and not options.temporary.is_dir():
        raise UserError(f"--temporary {options.temporary}: no such folder; make it or choose another")
    estimate = None
    with (
        _progress(corpus) as say,
        writing(options.out) as unfinished,
        tempfile.TemporaryDirectory(prefix="wav2vec2-lm-", dir=options.temporary) as folder,
    ):
        zipped = options.out.suffix == ".gz"
        sentences = _telling(corpus, say)
        if options.engine == "lmplz":
            words = Path(folder) / "vocabulary.txt"
            if vocabulary is not None:
                words.write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
            run_lmplz(
                sentences,
                Path(unfinished),
                order=options.order,
                prune=prune,
                vocabulary=None if vocabulary is None else words,
                memory=options.memory << 20,
                folder=Path(folder),
                zipped=zipped,
            )
        else:
            model = KneserNey(
                options.order,
                Path(folder),
                prune=prune,
                vocabulary=vocabulary,
                memory=options.memory << 20,
                progress=say,
            )
            estimate = model.estimate(sentences, lambda counts: _open(unfinished, zipped))
    _report(options, corpus, estimate)
    if options.lexicon is not None:
        words_of_model = (word for word in ngram_words(options.out) if word not in SENTENCE_MARKS)
        print(f"{options.lexicon}: {write_spellings(words_of_model, options.lexicon, symbols)}")


def read_word_list(path: Path, normalization: TextNormalization) -> list[str]:
    """The words of a file, normalised: one or more a line, or in a line with a tab (of a lexicon) what precedes it.

    Raises:
        UserError: a file that cannot be read or has no word.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of words ({error}); give one word a line") from error
    words = dict.fromkeys(word for line in lines for word in normalization(line.partition("\t")[0]).split())
    kept = [word for word in words if word not in SENTENCE_MARKS]
    if not kept:
        raise UserError(f"{path}: has no words; give one word a line")
    return kept


def _check_words(
    options: NgramOptions, corpus: Corpus, vocabulary: list[str] | None, symbols: Vocabulary | None
) -> None:
    """Before the long run: the text's first words must be those of the vocabulary and of the symbols, case included."""
    sample = {word for words in islice(corpus, _SAMPLED) for word in words}
    if vocabulary is not None:
        check_case(sample, frozenset(vocabulary).__contains__, str(options.text[0]), str(options.vocab))
    if symbols is not None:
        check_case(sample, lambda word: can_spell(symbols, word), str(options.text[0]), str(options.symbols))


def _open(path: str, zipped: bool) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "wb", compresslevel=6)) if zipped else open(path, "wb")


@contextlib.contextmanager
def _progress(corpus: Corpus) -> Iterator[Say]:
    """A bar for each pass, on stderr where that is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks = {"reading text": progress.add_task("reading text", total=1.0)}

        def say(name: str, part: float) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=1.0)
            progress.update(tasks[name], completed=min(1.0, part))

        yield say


def _telling(corpus: Corpus, say: Say) -> Iterator[list[str]]:
    for number, words in enumerate(corpus):
        if number % 1024 == 0:
            say("reading text", corpus.position / max(1, corpus.size))
        yield words
    say("reading text", 1.0)


def _report(options: NgramOptions, corpus: Corpus, estimate: Estimate | None) -> None:
    print(f"{options.out}: order {options.order}, from {corpus.sentences} sentences of {corpus.words} words")
    if estimate is None:
        return
    print("n-grams: " + ", ".join(f"{count} of {k}" for k, count in enumerate(estimate.counts, start=1)))
    if estimate.unknown:
        share = 100 * estimate.unknown / corpus.words
        print(f"outside the vocabulary: {estimate.unknown} words ({share:.2f} %), counted as <unk>")
    if estimate.fallbacks:
        orders = ", ".join(map(str, estimate.fallbacks))
        values = ", ".join(f"{value:g}" for value in FALLBACK_DISCOUNTS)
        print(f"too little text to estimate the discounts of order {orders}: {values} are used instead")


def run_lmplz(
    sentences: Iterable[Sequence[str]],
    out: Path,
    *,
    order: int,
    prune: Sequence[int],
    vocabulary: Path | None,
    memory: int,
    folder: Path,
    zipped: bool,
) -> None:
    """Estimate as ``KneserNey`` does and write the ARPA file ``out``, gzipped where ``zipped``.

    vocabulary: words that n-grams may have; lmplz prunes all others (``KneserNey`` counts them as ``<unk>``). memory:
    bytes. folder: for sorted runs.

    Raises:
        UserError: lmplz is not on PATH or fails; with its own reason.
    """
    program = shutil.which("lmplz")
    if program is None:
        raise UserError("--engine lmplz: no lmplz on PATH; build KenLM (kheafield.com/code/kenlm) or use --engine own")
    plain = folder / "model.arpa" if zipped else out
    command = [program, "--order", str(order), "--memory", f"{memory >> 20}M", "--temp_prefix", f"{folder}/"]
    command += ["--discount_fallback", "--arpa", str(plain)]
    command += ["--prune", *map(str, prune)] if any(prune) else []
    command += ["--limit_vocab_file", str(vocabulary)] if vocabulary is not None else []
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
        assert process.stdin is not None
        try:
            with process.stdin as pipe:
                for words in sentences:
                    pipe.write(" ".join(word for word in words if word != "<unk>").encode() + b"\n")
        except BrokenPipeError:
            pass  # it stopped; its status and what it said tell why
        except BaseException:
            process.kill()
            raise
        finally:
            status = process.wait()
        if status:
            said.seek(0)
            lines = said.read().decode(errors="replace").split("\n")
            reason = next((line for line in reversed(lines) if line.strip()), f"status {status}")
            raise UserError(f"lmplz failed: {' '.join(reason.split())}; see its own documentation, or --engine own")
    if zipped:
        with plain.open("rb") as source, gzip.open(out, "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        plain.unlink()
