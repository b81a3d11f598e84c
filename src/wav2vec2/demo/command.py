"""``wav2vec2 demo``: the whole way on a small corpus, in minutes on two cores.

prepare, pretrain, finetune, the same model from scratch with the same transcripts and updates, evaluate both. The
default speech is synthesised (``demo_speech``); a LibriSpeech-like folder of one's own takes its place by ``--speech``.
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
from wav2vec2.data.corpora.librispeech import scan_librispeech
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.prepare.command import PrepareLibriSpeech
from wav2vec2.data.prepare.command import run as prepare
from wav2vec2.data.prepare.examine import speaker_fraction
from wav2vec2.data.utterance import Utterance
from wav2vec2.demo.speech import synthesize
from wav2vec2.errors import UserError
from wav2vec2.evaluation.evaluate import EvaluateConfig, evaluate
from wav2vec2.evaluation.scores import EvaluationReport
from wav2vec2.model.architecture import Masking, Regularization
from wav2vec2.model.variants.variant import Variant
from wav2vec2.train.finetune import command as finetune
from wav2vec2.train.metrics import is_done
from wav2vec2.train.options import BatchConfig, HealthConfig, LogConfig, ModelConfig, TrainConfig
from wav2vec2.train.pretrain import command as pretrain
from wav2vec2.train.pretrain.fixed_units import UnitsConfig
from wav2vec2.train.pretrain.objective import LossConfig

MODEL = ModelConfig(architecture="tiny", layer_norm_first=True)
"""Pre-norm bears the high learning rate that a few hundred updates need."""
REGULARIZATION = Regularization(
    dropout=0.05,
    attention_dropout=0.05,
    input_dropout=0.05,
    feature_dropout=0.05,
    layerdrop=0.0,
    feature_grad_mult=1.0,
)
SHOWN = 10
TESTED_SECONDS = 600.0


@dataclass(frozen=True)
class DemoOptions:
    """The whole way on a small corpus: prepare, pretrain, finetune, from scratch for comparison, evaluate."""

    speech: Path | None = None
    """A LibriSpeech-like folder ([SPLIT/]SPEAKER/CHAPTER/*.flac with *.trans.txt); if none, speech is synthesised."""
    out: Path = Path("runs/demo")
    """Folder for the speech, the manifest, the runs and the models; the same command goes on where it was stopped."""
    minutes: float = 20.0
    """How much speech is synthesised."""
    pretrain_updates: int = 400
    """Updates of pre-training."""
    finetune_updates: int = 700
    """Updates of fine-tuning, and of training from scratch."""
    seed: int = 1
    """Of the initial weights, masks and the order of the speech."""


@dataclass(frozen=True)
class Splits:
    """Which splits of the manifest the demo learns from and tests on, as ``Manifest.open`` takes them."""

    raw: str
    """Sound alone, for pre-training."""
    transcribed: str
    test: str


def run(options: DemoOptions) -> None:
    """Run the demo and print references beside transcripts, the error rates and where the models lie.

    Raises UserError when the speech cannot be used or written.
    """
    began = time.monotonic()
    speech = options.speech
    if speech is None:
        speech = options.out / "speech"
        with _stage(f"synthesise {options.minutes:g} minutes of speech"):
            seconds = synthesize(speech, minutes=options.minutes)
            print(", ".join(f"{split} {length / 60:.1f} min" for split, length in seconds.items()))
    with _stage("prepare"):
        root, percent = tree_and_held_out(speech)
        data = options.out / "data"
        manifest = prepare(PrepareLibriSpeech(root=root, out=data, valid_percent=percent, check="header"))
        splits = choose_splits(set(Manifest.open(manifest).column("split").to_pylist()), manifest)
    models = train(options, manifest, splits)
    with _stage(f"evaluate on {splits.test}"):
        test = _first_seconds(Manifest.open(manifest, split=splits.test), TESTED_SECONDS)
        reports = {name: _evaluate(model, test, options.out, name) for name, model in models.items()}
    print(comparison(options.out, reports))
    print(f"\nmodel: {models['pre-trained']}\ntry:   wav2vec2 transcribe {models['pre-trained']} FILE.wav")
    print(f"the whole way took {(time.monotonic() - began) / 60:.1f} minutes")


def tree_and_held_out(root: Path) -> tuple[Path, float]:
    """The tree to prepare, and the ``valid_percent`` that holds out a tenth of its speakers, one at least.

    A root with a single split folder is entered, so that its speakers are divided.
    """
    found = [item for item in scan_librispeech(root) if isinstance(item, Utterance)]
    splits = {utterance.split for utterance in found}
    if len(splits) == 1:
        root = root / splits.pop()
    fractions = sorted({speaker_fraction(utterance.speaker or utterance.id) for utterance in found})
    held_out = max(1, len(fractions) // 10)
    return root, 50.0 * sum(fractions[held_out - 1 : held_out + 1]) if len(fractions) > held_out else 0.0


def choose_splits(present: set[str], manifest: Path) -> Splits:
    """Training and test splits by their names: train*, unlabelled*, and test* before dev* before valid*.

    Raises UserError when one of them is missing.
    """
    train = sorted(split for split in present if split.startswith("train"))
    unlabelled = sorted(split for split in present if split.startswith("unlabelled"))
    for prefix in ("test", "dev", "valid"):
        test = sorted(split for split in present if split.startswith(prefix))
        if train and test:
            return Splits(raw="+".join(train + unlabelled), transcribed="+".join(train), test=test[0])
    raise UserError(
        f"{manifest}: has splits {', '.join(sorted(present))}: the demo needs folders train* and test*, or two speakers"
    )


def train(options: DemoOptions, manifest: Path, splits: Splits) -> dict[str, Path]:
    """Model directories "pre-trained" and "from scratch"; the second is trained in a process beside the first.

    Each takes one thread: two processes make better use of two cores than two threads, the more so on a busy machine.
    Raises KeyboardInterrupt after Ctrl-C, when the state of both is on disk.
    """
    console = options.out / "scratch.txt"
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as beside:
        alone = beside.submit(_finetune_quietly, finetune_config(options, manifest, splits, finetune.SCRATCH), console)
        try:
            with _stage(f"pretrain on the sound of {splits.raw} (beside it, training from scratch: see {console})"):
                start = _finished(pretrain.run(pretrain_config(options, manifest, splits)))
            with _stage(f"finetune on the transcripts of {splits.transcribed}"):
                model = _finished(finetune.run(finetune_config(options, manifest, splits, str(start))))
            with _stage("wait for the model from scratch"):
                return {"pre-trained": model, "from scratch": _finished(alone.result())}
        except BaseException:
            # Otherwise leaving the executor would wait for minutes; SIGTERM makes training save its state and end.
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _finetune_quietly(config: finetune.FinetuneConfig, console: Path) -> Path:
    with console.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        return finetune.run(config)


def _finished(model: Path) -> Path:
    """The model directory of a run that was not stopped by a signal."""
    if not is_done(model.parent):
        raise KeyboardInterrupt
    return model


def pretrain_config(options: DemoOptions, manifest: Path, splits: Splits) -> pretrain.PretrainConfig:
    """TINY with an easier task than the paper's, for a few hundred updates.

    Units are clusters of cepstra, not learned, and spans have 4 frames, not 10: with learned units or spans of 10 the
    loss is still near chance when the demo's minutes are over, and the recogniser gains nothing.
    """
    return pretrain.PretrainConfig(
        output=str(options.out / "pretrain"),
        seed=options.seed,
        data=pretrain.PretrainData(manifest=str(manifest), split=splits.raw),
        model=MODEL,
        variant=Variant(targets="fixed"),
        units=UnitsConfig(kind="mfcc", clusters=100),
        regularization=REGULARIZATION,
        masking=Masking(time_start=0.16, time_span=4),
        loss=LossConfig(penalty_weight=0.0),
        batch=BatchConfig(seconds=15.0, micro_seconds=15.0, max_seconds=7.5),
        train=TrainConfig(updates=options.pretrain_updates, lr=1e-3, warmup_share=0.1, threads=1),
        log=_log(options.pretrain_updates),
        # On speech that is harder the loss may never leave chance in so few updates: no reason to stop a demo.
        health=HealthConfig(chance_share=1.0, patience=options.pretrain_updates),
    )


def finetune_config(options: DemoOptions, manifest: Path, splits: Splits, init: str) -> finetune.FinetuneConfig:
    """The same for both models, nothing frozen: after minutes of pre-training the feature encoder has more to learn."""
    return finetune.FinetuneConfig(
        output=str(options.out / ("scratch" if init == finetune.SCRATCH else "finetune")),
        init=init,
        seed=options.seed,
        data=finetune.FinetuneData(manifest=str(manifest), split=splits.transcribed),
        model=MODEL,
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
    """Whole utterances from the start of the manifest, so that a large test set does not outlast the demo."""
    enough = int(np.searchsorted(np.cumsum(manifest.samples), seconds * SAMPLE_RATE)) + 1
    return manifest.select(np.arange(min(enough, len(manifest))))


def _evaluate(model: Path, test: Manifest, out: Path, name: str) -> EvaluationReport:
    config = EvaluateConfig(model=str(model), manifest=test.name, hypotheses=_hypotheses_file(out, name), worst=0)
    return evaluate(model, test, config)


def _hypotheses_file(out: Path, name: str) -> Path:
    return out / f"hypotheses-{name.replace(' ', '-')}.tsv"


def comparison(out: Path, reports: dict[str, EvaluationReport]) -> str:
    """References beside the transcripts of each model, and its error rates."""
    rows: dict[str, list[dict[str, str]]] = {}
    for name in reports:
        with _hypotheses_file(out, name).open(encoding="utf-8", newline="") as file:
            rows[name] = list(csv.DictReader(file, delimiter="\t"))
    texts = {name: {row["id"]: row["hypothesis"] for row in table} for name, table in rows.items()}
    first = next(iter(rows.values()))
    lines = [""]
    for row in first[:: max(1, len(first) // SHOWN)][:SHOWN]:
        lines.append(f"reference     {row['reference']}")
        lines += [f"{name:<14}{by_id.get(row['id'], '')}" for name, by_id in texts.items()]
        lines.append("")
    seconds = next(iter(reports.values())).seconds
    lines.append(f"error rates on {len(first)} utterances ({seconds / 60:.1f} min), 95 % interval:")
    for name, report in reports.items():
        wer, cer = (
            f"{label} {100 * score.counts.rate:5.1f} % ({100 * score.low:.1f}-{100 * score.high:.1f})"
            for label, score in (("WER", report.wer), ("CER", report.cer))
        )
        lines.append(f"{name:<14}{wer}   {cer}")
    return "\n".join(lines)
