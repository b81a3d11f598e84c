"""Error rates of a model on a manifest: word and character error rate with confidence intervals, and the worst
utterances.

Only the counts and the two texts of each utterance are kept, never logits. References and hypotheses are normalised in
the same way, as the model's training transcripts were (`Vocabulary.normalize`).
"""

import contextlib
import csv
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.utterance import Utterance
from wav2vec2.decode.beside_model import build_model_searches, with_preset_beside
from wav2vec2.decode.build import NO_LM, DecodingOptions, build_searches, open_each_once
from wav2vec2.decode.search import GREEDY, Search
from wav2vec2.errors import UserError
from wav2vec2.evaluation.scores import EvaluationReport, ScoredUtterance
from wav2vec2.evaluation.table import Comparison, calibration_text, comparison_text
from wav2vec2.evaluation.tally import Evaluation, Unscored
from wav2vec2.inference.acoustic_model import AcousticModel, ModelSource, vocabulary_and_architecture
from wav2vec2.inference.frame_outputs import ComputeOptions, with_results
from wav2vec2.inference.manifest_rows import transcribed_utterances, utterance_recording
from wav2vec2.inference.transcribe import Transcriber
from wav2vec2.inference.transcripts import stored_transcripts
from wav2vec2.model.architecture import Architecture
from wav2vec2.output.transcript import Transcript
from wav2vec2.output_file import writing
from wav2vec2.progress import AudioProgress
from wav2vec2.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class EvaluateConfig:
    """Measure the error rates of a model on the transcribed utterances of a manifest.

        wav2vec2 evaluate runs/finetune data --split test --lm lm.arpa

    With a language model or a preset, the table has a column without it and a column with it, from a single pass over
    the audio, and a row for each split.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A model directory, checkpoint file or hub id with a CTC head, or an exported .onnx or .pt2 file."""
    manifest: Annotated[str, Positional, arg(metavar="MANIFEST")]
    """A manifest (file, folder or pattern)."""
    language: str | None = None
    """Language of a multilingual model such as facebook/mms-1b-all, by its code of three letters, such as swh."""
    split: str | None = None
    """Only this split, such as test-clean, or several, with a row for each: dev+test."""
    out: Path | None = None
    """JSON file for the whole report."""
    hypotheses: Path | None = None
    """TSV file for the id, the reference and the hypotheses (one per column of the table) of every utterance."""
    worst: int = 5
    """Number of the worst utterances to print, aligned with their references."""
    calibration: bool = False
    """Also print, for each search, how many of the words of a confidence are right."""
    transcripts: Path | None = None
    """A folder that `transcribe MODEL MANIFEST --out` wrote: score what it holds, without the model."""
    columns: tuple[str, ...] = ()
    """Presets (see --preset) that get a column of their own, beside the search that the other options choose."""
    case: Literal["auto", "upper", "lower", "keep"] = "auto"
    """Case that both texts are converted to; auto: that of the model's training transcripts."""
    punctuation: Literal["auto", "keep", "remove"] = "auto"
    """Whether punctuation is scored; auto: as in the model's training transcripts."""
    phones: Literal["auto", "keep"] = "auto"
    """auto: fold the phones of a TIMIT model to the usual 39 (Lee and Hon).
    keep: score all 61 or 48.
    """
    replications: int = 1000
    """Bootstrap replications for the 95 % intervals."""
    seed: int = 0
    """Seed of the bootstrap."""
    decoding: OmitArgPrefixes[DecodingOptions] = field(default_factory=DecodingOptions)
    compute: OmitArgPrefixes[ComputeOptions] = field(default_factory=ComputeOptions)


def evaluate(model: ModelSource | Transcriber, manifest: Manifest, config: EvaluateConfig) -> EvaluationReport:
    """Score `model` on every transcribed utterance of `manifest`, with the last search that `config` names.

    Utterances whose audio cannot be read are listed in the report. Raises UserError if there is nothing to score.
    """
    return compare(model, manifest, config).reports[-1]


def compare(model: ModelSource | Transcriber, manifest: Manifest, config: EvaluateConfig) -> Comparison:
    """Score every search that `config` names on every split of `manifest`; the model runs once.

    Greedy decoding is the first column. The search of a `Transcriber` is a column too. Raises UserError as `evaluate`
    does.
    """
    with contextlib.ExitStack() as stack:
        unscored = Unscored(untranscribed=manifest.column("text").null_count)
        source = _computed if config.transcripts is None else _stored
        found = source(model, manifest, config, stack)
        normalize = scoring_form(found.vocabulary, config.case, config.punctuation)
        fold = (config.phones == "auto" and found.vocabulary.scoring_fold) or str
        tally = partial(Evaluation, found.vocabulary, found.architecture, normalize, fold)
        totals = [tally(worst=config.worst) for _ in found.titles]
        rows: dict[str, list[Evaluation]] = {}
        transcribed = manifest.column("text").is_valid().to_numpy()
        progress = stack.enter_context(AudioProgress("utterance"))
        progress.expect(int(manifest.samples[transcribed].sum()) / SAMPLE_RATE, int(transcribed.sum()))
        write = stack.enter_context(_hypotheses(config.hypotheses, found.titles))
        for utterance, transcripts in found.results:
            progress.finish(utterance.samples / SAMPLE_RATE, utterance.samples / SAMPLE_RATE)
            if isinstance(transcripts, Failure):
                unscored.failures.append(transcripts)
                continue
            row = utterance.split or "no split"
            if row not in rows:
                rows[row] = [tally(worst=0) for _ in found.titles]
            for column, transcript in zip(rows[row], transcripts, strict=True):
                column.add(utterance, transcript)
            write([total.add(utterance, transcript) for total, transcript in zip(totals, transcripts, strict=True)])
    report = partial(Evaluation.report, replications=config.replications, seed=config.seed)
    reports = tuple(report(total, unscored) for total in totals)
    if not reports[0].utterances and not unscored.failures:
        raise UserError(f"{config.manifest}: no utterance with a transcript to score; check its split and text columns")
    cells = {name: tuple(report(column, Unscored()) for column in columns) for name, columns in rows.items()}
    return Comparison(found.titles, reports, cells)


@dataclass(frozen=True)
class _Found:
    """Transcripts of utterances, one for each title, and the model's vocabulary and architecture."""

    vocabulary: Vocabulary
    architecture: Architecture
    titles: tuple[str, ...]
    results: Iterable[tuple[Utterance, list[Transcript] | Failure]]


def _computed(
    model: ModelSource | Transcriber, manifest: Manifest, config: EvaluateConfig, stack: contextlib.ExitStack
) -> _Found:
    """What a model writes, with every search that `config` names."""
    if isinstance(model, Transcriber):
        transcriber = model
    else:
        transcriber = Transcriber(AcousticModel(model, compute=config.compute, language=config.language), lm=NO_LM)
    searches = _searches(transcriber, config, stack, given=isinstance(model, Transcriber))
    results = with_results(
        transcribed_utterances(manifest),
        lambda utterances: transcriber.stream_searches(map(utterance_recording, utterances), searches),
    )
    titles = tuple(search.title for search in searches)
    return _Found(transcriber.vocabulary, transcriber.architecture, titles, results)


def _stored(
    model: ModelSource | Transcriber, manifest: Manifest, config: EvaluateConfig, stack: contextlib.ExitStack
) -> _Found:
    """What `transcribe MODEL MANIFEST` has written; the model's weights are not read if that is possible."""
    assert config.transcripts is not None
    if config.columns or config.decoding != DecodingOptions():
        raise UserError("evaluate: --transcripts scores what was decoded; the options of decoding have no effect on it")
    if isinstance(model, str | Path):
        vocabulary, architecture = vocabulary_and_architecture(model, config.language)
    else:
        about = model if isinstance(model, Transcriber) else AcousticModel(model)
        vocabulary, architecture = about.vocabulary, about.architecture
    return _Found(vocabulary, architecture, ("transcripts",), stored_transcripts(config.transcripts, manifest))


def _searches(
    transcriber: Transcriber, config: EvaluateConfig, stack: contextlib.ExitStack, *, given: bool
) -> list[Search]:
    """The searches, one per column: greedy, the transcriber's own, that of the options, and those of the presets.

    given: the transcriber is the caller's, who has chosen whether to use the language model beside the model.
    """
    searches = [GREEDY]
    if transcriber.search.decoder is not None:
        searches.append(transcriber.search)
    own = config.decoding if given else with_preset_beside(config.decoding, transcriber.acoustic_model.source)
    open_lm, vocabulary = open_each_once(transcriber.device), transcriber.vocabulary
    presets = (DecodingOptions(preset=name, workers=own.workers, hotwords=own.hotwords) for name in config.columns)
    folder = (lambda: None) if given else transcriber.acoustic_model.language_model_folder
    chosen = build_model_searches(own, vocabulary, folder, open_lm=open_lm)
    others = (build_searches(preset, vocabulary, open_lm=open_lm) for preset in presets)
    for built in itertools.chain([chosen], others):
        for search in built:
            if search is not GREEDY:
                stack.callback(search.close)
                searches.append(search)
    titles = Counter(search.title for search in searches)
    return [
        replace(search, title=f"{search.title} {number}") if titles[search.title] > 1 and number else search
        for number, search in enumerate(searches)
    ]


def run(config: EvaluateConfig) -> None:
    """Print the report and write the requested files; raises UserError at the end if any audio could not be read."""
    for name, value, least in (("replications", config.replications, 1), ("seed", config.seed, 0)):
        if value < least:
            raise UserError(f"--{name} {value}: must be at least {least}")
    comparison = compare(config.model, Manifest.open(config.manifest, split=config.split), config)
    report = comparison.reports[-1]
    print(comparison_text(comparison))
    if config.calibration:
        print(f"\n{calibration_text(comparison)}")
    if config.out is not None:
        head = {"model": config.model, "manifest": config.manifest, "split": config.split}
        head |= {} if config.language is None else {"language": config.language}
        content = json.dumps(head | comparison.as_json(), ensure_ascii=False, indent=2) + "\n"
        with writing(config.out) as temporary:
            Path(temporary).write_text(content, encoding="utf-8")
    for failure in report.failures:
        print(f"{failure.source}: {failure.message}", file=sys.stderr)
    if report.failures:
        raise UserError(
            f"{len(report.failures)} utterances could not be read and are not scored; see the messages above"
        )


def scoring_form(
    vocabulary: Vocabulary, case: Literal["auto", "upper", "lower", "keep"], punctuation: str
) -> Callable[[str], str]:
    """Return the function that normalises both texts before they are compared.

    `auto` keeps the rule of the model's training transcripts.
    """
    if vocabulary.normalization is None and case == punctuation == "auto":
        return vocabulary.normalize
    changes: dict[str, Any] = {} if case == "auto" else {"case": case}
    if punctuation != "auto":
        changes["punctuation"] = punctuation
    return replace(vocabulary.rules, **changes)


@contextlib.contextmanager
def _hypotheses(path: Path | None, titles: Sequence[str]) -> Iterator[Callable[[list[ScoredUtterance]], object]]:
    if path is None:
        yield lambda scored: None
        return
    with writing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(("id", "reference", *(titles if len(titles) > 1 else ("hypothesis",))))
        yield lambda scored: table.writerow((scored[0].id, scored[0].reference, *(one.hypothesis for one in scored)))
