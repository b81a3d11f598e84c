"""Error rates of a model on a manifest: WER and CER by kind of error, with an interval, and what went worst and why.

Streaming: of each utterance only its counts and its two texts are kept, never logits. References are brought to the
form that the model was trained on (`Vocabulary.normalize`), and hypotheses to the same, so that both sides are scored
alike.
"""

import contextlib
import csv
import heapq
import json
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from wav2vec2.audio.recordings import Failure, Recording
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance
from wav2vec2.decode.build import DecodingOptions, build_searches, open_each_once
from wav2vec2.decode.search import GREEDY, Search
from wav2vec2.errors import UserError
from wav2vec2.evaluation.scores import EvaluationReport, ScoredUtterance, total_score
from wav2vec2.evaluation.table import Comparison, comparison_text
from wav2vec2.inference.emissions import utterance_recording
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.transcribe import Transcriber, Transcript, progress_bar
from wav2vec2.model.ctc import can_align
from wav2vec2.output_file import writing
from wav2vec2.text.error_rate import ErrorCounts, character_errors, word_errors
from wav2vec2.text.normalize import TextNormalization, is_spaceless_script
from wav2vec2.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from wav2vec2.model.ctc import Wav2Vec2ForCTC


@dataclass
class Heard:
    """What could not be scored: utterances without a reference, and those whose audio could not be read."""

    untranscribed: int = 0
    failures: list[Failure] = field(default_factory=list)


class Evaluation:
    """Collects one utterance after the other and makes the report; holds two counts an utterance and `worst` texts."""

    def __init__(
        self, transcriber: Transcriber, normalize: Callable[[str], str], fold: Callable[[str], str], *, worst: int
    ) -> None:
        self._transcriber = transcriber
        self._normalize, self._fold = normalize, fold
        self._worst_size = worst
        self._worst: list[tuple[float, int, str, int, ScoredUtterance]] = []
        self._words: list[ErrorCounts] = []
        self._characters: list[ErrorCounts] = []
        self._spaceless = 0
        self._seconds = 0.0
        self._unalignable: list[str] = []
        self._unknown: Counter[str] = Counter()

    def add(self, utterance: Utterance, transcript: Transcript) -> ScoredUtterance:
        """Score one utterance, which has a reference."""
        vocabulary = self._transcriber.vocabulary
        written = self._normalize(utterance.text or "")
        reference, hypothesis = self._fold(written), self._fold(self._normalize(transcript.text))
        scored = ScoredUtterance(
            utterance.id,
            reference,
            hypothesis,
            word_errors(reference, hypothesis),
            character_errors(reference, hypothesis),
        )
        self._words.append(scored.words)
        self._characters.append(scored.characters)
        self._seconds += transcript.seconds
        self._unknown += vocabulary.unknown_symbols(written)
        if not can_align(self._transcriber.architecture.frame_length(utterance.samples), vocabulary.encode(written)):
            self._unalignable.append(utterance.id)
        spaceless = is_spaceless_script(reference)
        self._spaceless += spaceless
        counts = scored.characters if spaceless else scored.words
        if counts.errors:
            heapq.heappush(self._worst, (counts.rate, counts.errors, utterance.id, len(self._words), scored))
        if len(self._worst) > self._worst_size:
            heapq.heappop(self._worst)
        return scored

    def report(self, heard: Heard, *, replications: int, seed: int) -> EvaluationReport:
        """Sum up what was scored so far, with bootstrap intervals over utterances."""
        phones = self._transcriber.vocabulary.unit == "whitespace"
        return EvaluationReport(
            utterances=len(self._words),
            seconds=self._seconds,
            main="per" if phones else "cer" if 2 * self._spaceless > len(self._words) else "wer",
            wer=total_score(self._words, replications, seed),
            cer=total_score(self._characters, replications, seed),
            worst=tuple(entry[-1] for entry in sorted(self._worst, key=lambda entry: entry[:4], reverse=True)),
            unalignable=tuple(self._unalignable),
            unknown=dict(self._unknown.most_common()),
            untranscribed=heard.untranscribed,
            failures=tuple(heard.failures),
            folded=self._fold is not str,
        )


def _transcribe(
    transcriber: Transcriber, searches: Sequence[Search], utterances: Iterable[Utterance], heard: Heard
) -> Iterator[tuple[Utterance, list[Transcript]]]:
    """Transcribe utterances in order, yielding those that have a reference and readable audio."""
    waiting: deque[Utterance] = deque()

    def recordings() -> Iterator[Recording]:
        for utterance in utterances:
            if utterance.text is None:
                heard.untranscribed += 1
            else:
                waiting.append(utterance)
                yield utterance_recording(utterance)

    for result in transcriber.stream_searches(recordings(), searches):
        utterance = waiting.popleft()
        if isinstance(result, Failure):
            heard.failures.append(result)
        else:
            yield utterance, result


@dataclass(frozen=True)
class EvaluateConfig(ComputeOptions):
    """Measure a model on the transcribed utterances of a manifest.

    With a language model or preset the table has a column without and one with it, from one pass over the audio; a
    row for each split.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A model directory or checkpoint file with a CTC head."""
    manifest: Annotated[str, Positional, arg(metavar="MANIFEST")]
    """A manifest (file, folder or pattern)."""
    split: str | None = None
    """Only this split, such as test-clean, or several, a row each: dev+test."""
    columns: tuple[str, ...] = ()
    """Presets (as of --preset), each of which gets a column beside those that the other options ask for."""
    case: Literal["auto", "upper", "lower", "keep"] = "auto"
    """Case of both texts before they are compared; auto is what the model was trained on."""
    punctuation: Literal["auto", "keep", "remove"] = "auto"
    """Whether punctuation counts; auto is what the model was trained on."""
    phones: Literal["auto", "keep"] = "auto"
    """auto scores models of TIMIT's 61 or 48 phones on the usual 39 (Lee and Hon); keep counts every difference."""
    worst: int = 5
    """How many of the worst utterances are shown aligned."""
    replications: int = 1000
    """Resamplings for the 95 % interval."""
    seed: int = 0
    """Seed of the resampling."""
    out: Path | None = None
    """Write the whole report to this JSON file."""
    hypotheses: Path | None = None
    """Write id, reference and hypothesis (one a column of the table) of every utterance to this TSV file."""
    decoding: OmitArgPrefixes[DecodingOptions] = field(default_factory=DecodingOptions)


def evaluate(
    model: "Wav2Vec2ForCTC | str | Path | Transcriber", manifest: Manifest, config: EvaluateConfig
) -> EvaluationReport:
    """Score `model` on every transcribed utterance of `manifest`, by the last search that `config` names.

    Utterances whose audio cannot be read are in the report's failures. Raises UserError if there is nothing to score.
    """
    return compare(model, manifest, config).reports[-1]


def compare(
    model: "Wav2Vec2ForCTC | str | Path | Transcriber", manifest: Manifest, config: EvaluateConfig
) -> Comparison:
    """Score every search that `config` names on every split of `manifest`, with the model run once: a column for each
    search, greedy decoding first. A `Transcriber` brings its own search. Raises UserError as `evaluate` does.
    """
    with contextlib.ExitStack() as stack:
        transcriber = model
        if not isinstance(transcriber, Transcriber):
            transcriber = Transcriber(transcriber, **config.computing())
        searches = _searches(transcriber, config, stack)
        normalize = scoring_form(transcriber.vocabulary, config.case, config.punctuation)
        fold = (config.phones == "auto" and transcriber.vocabulary.scoring_fold) or str
        heard = Heard()
        totals = [Evaluation(transcriber, normalize, fold, worst=config.worst) for _ in searches]
        rows: dict[str, list[Evaluation]] = {}
        progress = stack.enter_context(progress_bar())
        task = progress.add_task("evaluate", total=len(manifest))
        write = stack.enter_context(_hypotheses(config.hypotheses, [search.title for search in searches]))
        for utterance, transcripts in _transcribe(transcriber, searches, manifest, heard):
            progress.advance(task)
            row = utterance.split or "no split"
            if row not in rows:
                rows[row] = [Evaluation(transcriber, normalize, fold, worst=0) for _ in searches]
            for column, transcript in zip(rows[row], transcripts, strict=True):
                column.add(utterance, transcript)
            write([total.add(utterance, transcript) for total, transcript in zip(totals, transcripts, strict=True)])
    sums = partial(Evaluation.report, replications=config.replications, seed=config.seed)
    reports = tuple(sums(total, heard) for total in totals)
    if not reports[0].utterances and not heard.failures:
        raise UserError(f"{config.manifest}: no utterance with a transcript to score; check its split and text columns")
    cells = {name: tuple(sums(column, Heard()) for column in columns) for name, columns in rows.items()}
    return Comparison(tuple(search.title for search in searches), reports, cells)


def _searches(transcriber: Transcriber, config: EvaluateConfig, stack: contextlib.ExitStack) -> list[Search]:
    """A column for each: greedy, the transcriber's own, what the options ask for, and the presets."""
    searches = [GREEDY]
    if transcriber.search.decoder is not None:
        searches.append(transcriber.search)
    own, open_lm = config.decoding, open_each_once()
    presets = (DecodingOptions(preset=name, workers=own.workers, hotwords=own.hotwords) for name in config.columns)
    for decoding in (own, *presets):
        for search in build_searches(decoding, transcriber.vocabulary, open_lm=open_lm):
            if search is not GREEDY:
                stack.callback(search.close)
                searches.append(search)
    titles = Counter(search.title for search in searches)
    return [
        replace(search, title=f"{search.title} {number}") if titles[search.title] > 1 and number else search
        for number, search in enumerate(searches)
    ]


def run(config: EvaluateConfig) -> None:
    """Print the report, write the files that were asked for, and raise UserError if any audio could not be read."""
    for name, value, least in (("replications", config.replications, 1), ("seed", config.seed, 0)):
        if value < least:
            raise UserError(f"--{name} {value}: must be at least {least}")
    comparison = compare(config.model, Manifest.open(config.manifest, split=config.split), config)
    report = comparison.reports[-1]
    print(comparison_text(comparison))
    if config.out is not None:
        head = {"model": config.model, "manifest": config.manifest, "split": config.split}
        content = json.dumps(head | comparison.as_json(), ensure_ascii=False, indent=2) + "\n"
        with writing(config.out) as temporary:
            Path(temporary).write_text(content, encoding="utf-8")
    for failure in report.failures:
        print(f"{failure.source}: {failure.message}", file=sys.stderr)
    if report.failures:
        raise UserError(
            f"{len(report.failures)} utterances could not be read and are not in the score; the lines above say why"
        )


def scoring_form(
    vocabulary: Vocabulary, case: Literal["auto", "upper", "lower", "keep"], punctuation: str
) -> Callable[[str], str]:
    """What both texts go through before they are compared; `auto` is what the model was trained on."""
    if vocabulary.normalization is None and case == punctuation == "auto":
        return vocabulary.normalize
    rules = vocabulary.normalization or TextNormalization(case=vocabulary.case)
    changes: dict[str, Any] = {} if case == "auto" else {"case": case}
    if punctuation != "auto":
        changes["punctuation"] = punctuation
    if rules.digits == "error":  # here a digit is a symbol that the model cannot write
        changes["digits"] = "keep"
    return replace(rules, **changes)


@contextlib.contextmanager
def _hypotheses(path: Path | None, titles: Sequence[str]) -> Iterator[Callable[[list[ScoredUtterance]], object]]:
    if path is None:
        yield lambda scored: None
        return
    with writing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(("id", "reference", *(titles if len(titles) > 1 else ("hypothesis",))))
        yield lambda scored: table.writerow((scored[0].id, scored[0].reference, *(one.hypothesis for one in scored)))
