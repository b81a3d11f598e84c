"""``wav2vec2 demo``: every step from raw speech to a recogniser, on a small corpus, within minutes on two cores.

The demo prepares the corpus, pre-trains on all of its speech without transcripts, fine-tunes on the small transcribed
part, trains the same model from scratch on the same part with the same number of updates, and evaluates both. The
speech is synthesised (``demo.speech``) unless ``--speech`` names a folder like LibriSpeech.
"""

import contextlib
import csv
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.command import PrepareLibriSpeech
from wav2vec2.data.prepare.command import run as prepare
from wav2vec2.demo.speech import Splits, choose_splits, synthesize, tree_and_held_out
from wav2vec2.errors import UserError
from wav2vec2.evaluation.evaluate import EvaluateConfig, evaluate
from wav2vec2.evaluation.scores import EvaluationReport
from wav2vec2.model.architecture import Masking, Regularization
from wav2vec2.model.variants.variant import Variant
from wav2vec2.text.error_rate import paired_difference, word_errors
from wav2vec2.train.finetune import command as finetune
from wav2vec2.train.finetune.config import SCRATCH, FinetuneConfig, FinetuneData
from wav2vec2.train.finetune.edges import EdgeConfig
from wav2vec2.train.metrics import is_done
from wav2vec2.train.options import BatchConfig, HealthConfig, LogConfig, ModelConfig, TrainConfig
from wav2vec2.train.pretrain import command as pretrain
from wav2vec2.train.pretrain.fixed_units import UnitsConfig
from wav2vec2.train.pretrain.objective import LossConfig

MODEL = ModelConfig(architecture="tiny", conv_channels=(32, 64, 64, 96, 128, 128, 128), layer_norm_first=True)
"""TINY with fewer channels where the frame rate is high, because these layers cost most on a CPU. Pre-norm tolerates
the high learning rate that a few hundred updates need."""
REGULARIZATION = Regularization(
    dropout=0.05,
    attention_dropout=0.0,
    input_dropout=0.05,
    feature_dropout=0.05,
    layerdrop=0.0,
    feature_grad_mult=1.0,
)
SHOWN = 10
"""Utterances whose transcripts are printed."""
TEST_MINUTES = 4.0
"""Speech synthesised for the test."""
MOST_TESTED_SECONDS = 600.0
"""Of a folder of the user's own."""


@dataclass(frozen=True)
class DemoOptions:
    """Pre-train, fine-tune and evaluate on a small corpus, and compare with the same model trained from scratch."""

    speech: Path | None = None
    """A folder like LibriSpeech: [SPLIT/]SPEAKER/CHAPTER/*.flac with *.trans.txt. Default: speech is synthesised."""
    out: Path = Path("runs/demo")
    """Folder for the speech, the manifest, the runs and the models. A stopped demo continues with the same command."""
    minutes: float = 35.0
    """Minutes of speech to synthesise for training. Pre-training hears all of it, without transcripts."""
    transcribed_minutes: float = 5.0
    """Minutes of these that have transcripts, for fine-tuning and for training from scratch."""
    pretrain_updates: int = 700
    """Updates of pre-training."""
    finetune_updates: int = 400
    """Updates of fine-tuning, and of training from scratch."""
    seed: int = 1
    """Determines the synthetic speech, the initial weights, the masks and the order of the utterances."""


def run(options: DemoOptions) -> None:
    """Run the demo. Print references beside transcripts, the error rates, their difference and where the models are.

    Raises UserError if the speech cannot be read or written.
    """
    began = time.monotonic()
    speech = _synthesized(options) if options.speech is None else options.speech
    with _stage("prepare"):
        root, percent = tree_and_held_out(speech)
        data = options.out / "data"
        manifest = prepare(PrepareLibriSpeech(root=root, out=data, valid_percent=percent, check="header"))
        splits = choose_splits(set(Manifest.open(manifest).column("split").to_pylist()), manifest)
    models = train(options, manifest, splits)
    with _stage(f"evaluate on {splits.test}"):
        test = _first_seconds(Manifest.open(manifest, split=splits.test), MOST_TESTED_SECONDS)
        reports = {name: _evaluate(model, test, options.out, name) for name, model in models.items()}
    print(comparison(options.out, reports))
    print(amounts(manifest, splits))
    print(f"\nmodel: {models['pre-trained']}\ntry:   wav2vec2 transcribe FILE.wav --model {models['pre-trained']}")
    print(f"total time: {(time.monotonic() - began) / 60:.1f} minutes")


def _synthesized(options: DemoOptions) -> Path:
    if not 0 < options.transcribed_minutes < options.minutes:
        raise UserError(
            f"--transcribed-minutes {options.transcribed_minutes:g} is not a part of --minutes {options.minutes:g}; "
            "give a smaller number above 0"
        )
    folder = options.out / "speech"
    minutes = {
        "unlabelled": options.minutes - options.transcribed_minutes,
        "train": options.transcribed_minutes,
        "test": TEST_MINUTES,
    }
    with _stage(f"synthesise {sum(minutes.values()):g} minutes of speech"):
        written = synthesize(folder, minutes, seed=options.seed)
        print(", ".join(f"{split} {seconds / 60:.1f} min" for split, seconds in written.items()))
    return folder


def train(options: DemoOptions, manifest: Path, splits: Splits) -> dict[str, Path]:
    """Train both models at the same time; returns the model directories "pre-trained" and "from scratch".

    Each process has one thread: two processes use two cores better than two threads do, above all on a busy machine.

    Raises KeyboardInterrupt after Ctrl-C, once the state of both is on disk.
    """
    console = options.out / "scratch.txt"
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as beside:
        alone = beside.submit(_finetune_quietly, finetune_config(options, manifest, splits, SCRATCH), console)
        try:
            with _stage(f"pre-train on {splits.raw}, without transcripts (and train from scratch: see {console})"):
                start = _finished(pretrain.run(pretrain_config(options, manifest, splits)))
            with _stage(f"fine-tune on {splits.transcribed}, with transcripts"):
                model = _finished(finetune.run(finetune_config(options, manifest, splits, str(start))))
            with _stage("wait for the model from scratch"):
                return {"pre-trained": model, "from scratch": _finished(alone.result())}
        except BaseException:
            # The executor would wait for minutes. On SIGTERM, training saves its state and ends.
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _finetune_quietly(config: FinetuneConfig, console: Path) -> Path:
    with console.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        return finetune.run(config)


def _finished(model: Path) -> Path:
    """Return the model directory of a run. Raises KeyboardInterrupt if a signal stopped the run."""
    if not is_done(model.parent):
        raise KeyboardInterrupt
    return model


def pretrain_config(options: DemoOptions, manifest: Path, splits: Splits) -> pretrain.PretrainConfig:
    """Return the recipe of pre-training: an easier task than the paper's, which a few hundred updates can learn.

    The targets are clusters of cepstra instead of learned codes, and masked spans have 4 frames instead of 10. With
    learned codes or spans of 10 frames the loss is still near chance when the demo ends, and the recogniser gains
    nothing.
    """
    return pretrain.PretrainConfig(
        output=str(options.out / "pretrain"),
        seed=options.seed,
        data=pretrain.PretrainData(manifest=str(manifest), split=splits.raw),
        model=MODEL,
        variant=Variant(targets="fixed"),
        units=UnitsConfig(kind="mfcc", clusters=100, fit_frames=50_000, iterations=15),
        regularization=REGULARIZATION,
        masking=Masking(time_start=0.16, time_span=4),
        loss=LossConfig(penalty_weight=0.0),
        batch=BatchConfig(seconds=15.0, micro_seconds=15.0, max_seconds=7.5),
        train=TrainConfig(updates=options.pretrain_updates, lr=1e-3, warmup_share=0.1, threads=1),
        log=_log(options.pretrain_updates),
        # On harder speech the loss may stay at chance for so few updates. That is no reason to stop a demo.
        health=HealthConfig(chance_share=1.0, patience=options.pretrain_updates),
    )


def finetune_config(options: DemoOptions, manifest: Path, splits: Splits, init: str) -> FinetuneConfig:
    """Return the recipe of fine-tuning, or of training from scratch: the two differ only in the initial weights.

    Nothing is frozen: after minutes of pre-training the feature encoder still has much to learn. Its utterances begin
    with their first word; so that the model also recognises words after noise, silence is put before most of them.
    """
    return FinetuneConfig(
        output=str(options.out / ("scratch" if init == SCRATCH else "finetune")),
        init=init,
        seed=options.seed,
        data=FinetuneData(manifest=str(manifest), split=splits.transcribed),
        model=MODEL,
        edges=EdgeConfig(share=0.75, seconds=0.3),
        regularization=REGULARIZATION,
        masking=Masking(time_start=0.04, time_span=6, min_spans=1),
        batch=BatchConfig(seconds=13.0, micro_seconds=13.0, max_seconds=12.5),
        train=TrainConfig(
            updates=options.finetune_updates,
            lr=2e-3,
            schedule="tri-stage",
            warmup_share=0.1,
            hold_share=0.4,
            decay="linear",
            eps=1e-8,
            weight_decay=0.0,
            clip_norm=100.0,
            threads=1,
        ),
        log=_log(options.finetune_updates),
    )


def _log(updates: int) -> LogConfig:
    return LogConfig(every=50, validate_every=updates, save_every=200, keep_last=1, tensorboard=False)


@contextmanager
def _stage(title: str) -> Iterator[None]:
    print(f"\n== {title}", flush=True)
    began = time.monotonic()
    yield
    print(f"   {time.monotonic() - began:.0f} s", flush=True)


def _first_seconds(manifest: Manifest, seconds: float) -> Manifest:
    """Return the first utterances of the manifest, about ``seconds`` in all, so that a large test set ends in time."""
    enough = int(np.searchsorted(np.cumsum(manifest.samples), seconds * SAMPLE_RATE)) + 1
    return manifest.select(np.arange(min(enough, len(manifest))))


def _evaluate(model: Path, test: Manifest, out: Path, name: str) -> EvaluationReport:
    config = EvaluateConfig(model=str(model), manifest=test.name, hypotheses=_hypotheses_file(out, name), worst=0)
    return evaluate(model, test, config)


def _hypotheses_file(out: Path, name: str) -> Path:
    return out / f"hypotheses-{name.replace(' ', '-')}.tsv"


def comparison(out: Path, reports: dict[str, EvaluationReport]) -> str:
    """Return references beside the transcripts of each model, the error rates, and the difference in WER.

    out: the folder of the demo, with the files that ``evaluate`` wrote.
    """
    texts, references = {}, {}
    for name in reports:
        with _hypotheses_file(out, name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        texts[name] = {row["id"]: row["hypothesis"] for row in rows}
        references = {row["id"]: row["reference"] for row in rows}
    lines = [""]
    for key in list(references)[:: max(1, len(references) // SHOWN)][:SHOWN]:
        lines.append(f"reference     {references[key]}")
        lines += [f"{name:<14}{by_id.get(key, '')}" for name, by_id in texts.items()]
        lines.append("")
    seconds = next(iter(reports.values())).seconds
    lines.append(f"error rates on {len(references)} utterances ({seconds / 60:.1f} min), with 95 % intervals:")
    for name, report in reports.items():
        wer, cer = (
            f"{label} {100 * score.counts.rate:5.1f} % ({100 * score.low:.1f}-{100 * score.high:.1f})"
            for label, score in (("WER", report.wer), ("CER", report.cer))
        )
        lines.append(f"{name:<14}{wer}   {cer}")
    return "\n".join([*lines, "", verdict(references, texts["from scratch"], texts["pre-trained"])])


def verdict(references: dict[str, str], scratch: dict[str, str], pretrained: dict[str, str]) -> str:
    """Say whether pre-training lowered the WER, by how much, and whether that is more than chance.

    Args:
        references: texts by the id of their utterance.
        scratch: transcripts of the model trained from scratch, by id.
        pretrained: transcripts of the pre-trained model, by id.
    """
    both = [key for key in references if key in scratch and key in pretrained]
    before, after = ([word_errors(references[key], texts[key]) for key in both] for texts in (scratch, pretrained))
    found = paired_difference(
        [count.errors for count in before], [count.errors for count in after], [count.reference for count in before]
    )
    low, high = sorted((abs(100 * found.low), abs(100 * found.high)))
    if found.significant:
        change = "lowered" if found.difference < 0 else "raised"
        points = f"{abs(100 * found.difference):.1f} points (95 % interval of the difference: {low:.1f} to {high:.1f})"
        return f"Pre-training {change} the word error rate by {points}."
    return (
        f"Pre-training changed the word error rate by {100 * found.difference:+.1f} points. The 95 % interval of the "
        f"difference, {100 * found.low:+.1f} to {100 * found.high:+.1f}, includes zero: this may be chance."
    )


def amounts(manifest: Path, splits: Splits) -> str:
    """Say how much speech each model learned from."""
    raw, transcribed = (
        Manifest.open(manifest, split=split).samples.sum() / (60 * SAMPLE_RATE)
        for split in (splits.raw, splits.transcribed)
    )
    return (
        f"Pre-training heard {raw:.1f} minutes of speech without transcripts. Both models then learned from the same "
        f"{transcribed:.1f} minutes\nwith transcripts, with the same number of updates and the same learning rate."
    )
