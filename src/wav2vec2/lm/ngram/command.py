"""``wav2vec2 lm ngram``: estimate an n-gram model from text, and optionally write the lexicon of its words."""

import contextlib
import gzip
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Literal, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tyro.conf import Positional, arg

from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import MOST_LINES, read_text
from wav2vec2.lm.corpus import Corpus
from wav2vec2.lm.ngram.kneser_ney import FALLBACK_DISCOUNTS, Estimate, KneserNey, Report, thresholds_of
from wav2vec2.lm.words import SENTENCE_MARKS, UNKNOWN, can_spell, check_case, ngram_words, write_lexicon
from wav2vec2.output_file import writing
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

_SAMPLED = 1000


@dataclass(frozen=True)
class NgramOptions:
    """Estimate an n-gram language model (interpolated modified Kneser-Ney) and write it as ARPA.

        wav2vec2 lm ngram text.txt --order 4 --symbols runs/finetune --out lm.arpa

    'wav2vec2 tune' then finds how much it should count.
    """

    text: Annotated[tuple[Path, ...], Positional, arg(metavar="TEXT")]
    """Text files with one sentence per line, plain or gzipped (.gz)."""
    order: int = 4
    """Length of the longest n-grams, in words."""
    out: Path = Path("lm.arpa")
    """ARPA file to write; gzipped if its name ends in .gz."""
    prune: tuple[int, ...] = ()
    """Leave out n-grams that occur at most this often: one number per order (0 0 1 1); the last is used for all higher
    orders."""
    vocab: Path | None = None
    """File with the words of the model, one per line (a lexicon will do). Other words become <unk>; words of the file
    that the text lacks get the probability of an unseen word. By default, all words of the text."""
    case: Literal["keep", "upper", "lower"] = "keep"
    """Convert the text to this case, which should be that of the recogniser's letters."""
    punctuation: Literal["keep", "remove"] = "keep"
    """Keep or remove the text's punctuation."""
    ids: bool = False
    """Each line begins with an identifier to skip (LibriSpeech's *.trans.txt, Kaldi's text)."""
    lexicon: Path | None = None
    """Also write a lexicon, the spelling of each word of the model, for lexicon searches."""
    symbols: Path | None = None
    """Model directory of a recogniser: bring the text to the form of its transcripts (unless --case or --punctuation
    says otherwise), spell the lexicon in its symbols and leave out words it cannot spell."""
    engine: Literal["own", "lmplz"] = "own"
    """This package's estimator, or KenLM's lmplz on PATH, which uses all cores, for billions of words."""
    memory: int = 1024
    """Memory for n-grams in MiB; the rest goes to disk. The word list needs additional memory."""
    temporary: Path | None = None
    """Folder for temporary files, about 50 bytes per word of text; by default, the system's."""


def run(options: NgramOptions) -> None:
    """Estimate the model, write it, and print a report.

    Raises:
        UserError: an option is wrong, a text cannot be read, or a file cannot be written.
    """
    prune = thresholds_of(options.prune, options.order)
    symbols = None if options.symbols is None else Vocabulary.load(options.symbols)
    normalization = _normalization(options, symbols)
    corpus = Corpus(options.text, normalization, ids=options.ids)
    vocabulary = None if options.vocab is None else read_word_list(options.vocab, normalization)
    _check_words(options, corpus, vocabulary, symbols)
    if options.temporary is not None and not options.temporary.is_dir():
        raise UserError(f"--temporary {options.temporary}: no such folder; create it or choose another")
    estimate = None
    with (
        _progress() as report,
        writing(options.out) as unfinished,
        tempfile.TemporaryDirectory(prefix="wav2vec2-lm-", dir=options.temporary) as folder,
    ):
        zipped = options.out.suffix == ".gz"
        sentences = _reported(corpus, report)
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
                progress=report,
            )
            estimate = model.estimate(sentences, lambda counts: _open(unfinished, zipped))
    _print_report(options, corpus, estimate)
    if options.lexicon is not None:
        words_of_model = (word for word in ngram_words(options.out) if word not in SENTENCE_MARKS)
        print(f"{options.lexicon}: {write_lexicon(words_of_model, options.lexicon, symbols)}")


def _normalization(options: NgramOptions, symbols: Vocabulary | None) -> TextNormalization:
    """What the options say; without them, that of the recogniser's transcripts."""
    said = TextNormalization(case=options.case, punctuation=options.punctuation)
    if symbols is None or symbols.normalization is None or said != TextNormalization():
        return said
    return symbols.rules


def read_word_list(path: Path, normalization: TextNormalization) -> list[str]:
    """Read a list of words and normalise them: one or more per line, or the words before the tab of a lexicon's line.

    Raises:
        UserError: the file cannot be read or has no words.
    """
    try:
        lines = read_text(path, encoding="utf-8-sig", most=MOST_LINES).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read as a list of words ({cause(error)}); write one word per line"
        ) from error
    words = dict.fromkeys(word for line in lines for word in normalization(line.partition("\t")[0]).split())
    kept = [word for word in words if word not in SENTENCE_MARKS]
    if not kept:
        raise UserError(f"{path}: has no words; write one word per line")
    return kept


def _check_words(
    options: NgramOptions, corpus: Corpus, vocabulary: list[str] | None, symbols: Vocabulary | None
) -> None:
    """Check, before the long run, that the text's first words match the vocabulary and the symbols in case."""
    sample = {word for words in islice(corpus, _SAMPLED) for word in words}
    if vocabulary is not None:
        check_case(sample, frozenset(vocabulary).__contains__, str(options.text[0]), str(options.vocab))
    if symbols is not None:
        check_case(sample, lambda word: can_spell(symbols, word), str(options.text[0]), str(options.symbols))


def _open(path: str, zipped: bool) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "wb", compresslevel=6)) if zipped else open(path, "wb")


@contextlib.contextmanager
def _progress() -> Iterator[Report]:
    """Show a progress bar for each pass, if stderr is a terminal."""
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

        def report(name: str, part: float) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=1.0)
            progress.update(tasks[name], completed=min(1.0, part))

        yield report


def _reported(corpus: Corpus, report: Report) -> Iterator[list[str]]:
    for number, words in enumerate(corpus):
        if number % 1024 == 0:
            report("reading text", corpus.position / max(1, corpus.size))
        yield words
    report("reading text", 1.0)


def _print_report(options: NgramOptions, corpus: Corpus, estimate: Estimate | None) -> None:
    print(f"{options.out}: order {options.order}, from {corpus.sentences} sentences of {corpus.words} words")
    if estimate is None:
        return
    print("n-grams: " + ", ".join(f"{count} of order {k}" for k, count in enumerate(estimate.counts, start=1)))
    if estimate.unknown:
        share = 100 * estimate.unknown / corpus.words
        print(f"outside the vocabulary: {estimate.unknown} words ({share:.2f} %), counted as <unk>")
    if estimate.fallbacks:
        orders = ", ".join(map(str, estimate.fallbacks))
        values = ", ".join(f"{value:g}" for value in FALLBACK_DISCOUNTS)
        print(f"too little text to estimate the discounts of order {orders}: using {values} instead")


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
    """Estimate with KenLM's ``lmplz``, which is compiled and uses all cores: for billions of words.

    Args:
        sentences: the words of each sentence.
        out: the ARPA file to write.
        order: order of the model.
        prune: thresholds, one per order.
        vocabulary: file with the words that n-grams may contain; lmplz prunes n-grams with any other word, whereas
            ``KneserNey`` counts it as ``<unk>``.
        memory: memory for lmplz, in bytes.
        folder: folder for temporary files.
        zipped: whether to gzip the file.

    Raises:
        UserError: lmplz is not on PATH, or fails; gives lmplz's own reason.
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
                    pipe.write(" ".join(word for word in words if word != UNKNOWN).encode() + b"\n")
        except BrokenPipeError:
            pass  # lmplz has ended; its status and its output give the reason
        except BaseException:
            process.kill()
            raise
        finally:
            status = process.wait()
        if status:
            said.seek(0)
            lines = said.read().decode(errors="replace").split("\n")
            reason = next((line for line in reversed(lines) if line.strip()), f"status {status}")
            raise UserError(f"lmplz failed: {' '.join(reason.split())}; see its documentation, or use --engine own")
    if zipped:
        with plain.open("rb") as source, gzip.open(out, "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        plain.unlink()
