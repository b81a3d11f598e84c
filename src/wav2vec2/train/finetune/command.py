"""Fine-tuning for recognition (sections 3.3 and 4.3): the command."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import torch

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.hold_out import hold_out
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.mixing import Groups
from wav2vec2.errors import UserError
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train import distributed
from wav2vec2.train.corpus import open_manifest, plan_corpus, read_ids
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.finetune import lora
from wav2vec2.train.finetune.config import SCRATCH, FinetuneConfig, FinetuneData
from wav2vec2.train.finetune.edges import with_edges
from wav2vec2.train.finetune.memory import bytes_of, fitted
from wav2vec2.train.finetune.objective import CTCObjective
from wav2vec2.train.finetune.start import build_model, starting_architecture
from wav2vec2.train.finetune.symbols import seen_symbols, symbol_lines
from wav2vec2.train.finetune.text import TextConfig, normalization_of
from wav2vec2.train.finetune.transcripts import Transcripts, transcribed, usable_transcripts
from wav2vec2.train.finetune.ways import fixed_parameters, language_name
from wav2vec2.train.loop import Trainer
from wav2vec2.train.objective import Run
from wav2vec2.train.options import refuse_impossible
from wav2vec2.train.read_workers import heard_at_most


def run(config: FinetuneConfig) -> Path:
    """Fine-tune as the recipe says, from the newest checkpoint in ``config.output`` if there is one.

    Returns the model directory.

    Raises:
        UserError: something in the recipe, the data or the model has to be corrected, or a health check failed.
    """
    if not config.init:
        raise UserError('init is not set: give a pre-trained model, or "scratch"')
    if config.memory:
        bytes_of(config.memory)
    refuse_impossible(config)
    with distributed.session(config.train.device, config.parallel.timeout_minutes, config.train.threads) as ranks:
        return _run(config, ranks)


def _run(config: FinetuneConfig, ranks: Ranks) -> Path:
    torch.manual_seed(config.seed)
    manifest = open_manifest(config.data.manifest, config.data.split, "data.manifest")
    if config.data.labels:
        manifest = manifest.with_ids(read_ids(config.data.labels))
    normalization, chosen = normalization_of(config.text, manifest)
    vocabulary = build_vocabulary(config.text, manifest, normalization)
    fitting: list[str] = []
    if config.memory:
        longest = _longest(manifest, config.batch.max_seconds)
        config, fitting = fitted(config, starting_architecture(config), len(vocabulary), longest, ranks.device)
    model, lines = build_model(config, vocabulary, language_name(config.tune.language, _languages(manifest)))
    transcripts = usable_transcripts(manifest, vocabulary, model.architecture)
    model.longest_heard = _longest_heard(transcripts.manifest)
    corpus = plan_corpus(
        transcripts.manifest,
        config.batch,
        ranks,
        seed=config.seed,
        crop=False,
        epsilon=model.architecture.normalization_epsilon,
        heard=heard_at_most(model.architecture, "finetune", ranks.device),
        groups=Groups.of(transcripts.manifest, config.data.mix, config.data.mix_beta),
        curriculum=config.curriculum,
        updates=config.train.updates,
    )
    room = round(config.batch.micro_seconds * ranks.world * SAMPLE_RATE)
    corpus = with_edges(corpus, config.edges, seed=config.seed, group_samples=room)
    validation, untranscribed = _validation(config.data)
    freeze = max(config.freeze.updates, round(config.freeze.share * config.train.updates))
    if config.init == SCRATCH:
        freeze = 0
    if ranks.is_main:
        _write_left_out(Path(config.output), transcripts)
    objective = CTCObjective(
        model,
        vocabulary,
        seed=config.seed,
        freeze_updates=freeze,
        validation=validation,
        micro_samples=round(config.batch.micro_seconds * SAMPLE_RATE),
        write=partial(lora.export, base=config.init) if config.tune.what == "lora" else None,
    )
    lines += [*chosen, *symbol_lines(vocabulary, seen_symbols(vocabulary, transcripts.counts)), *transcripts.lines]
    if freeze:
        lines.append(f"the first {freeze} updates train only the output layer")
    if validation is not None:
        lines.append(f"validation: {len(validation)} utterances, {float(validation.samples.sum()) / 57.6e6:.2f} h")
    if untranscribed:
        lines.append(f"utterances left out of validation: {untranscribed} without a transcript")
    symbols = hashlib.sha256(repr(vocabulary.symbols).encode()).hexdigest()[:16]
    fixed, values = fixed_parameters(model, config.tune.way(config.regularization))
    run = Run.of(config, f"{corpus.fingerprint} {symbols} {values}".rstrip(), fixed)
    return Trainer(run, objective, corpus.loader, ranks).train([*fitting, *corpus.lines, *lines])


def _validation(data: FinetuneData) -> tuple[Manifest | None, int]:
    """The transcribed utterances to validate on, and the number of those without a transcript."""
    if not data.validation_manifest and not data.validation_split:
        return None, 0
    path = data.validation_manifest or data.manifest
    every = open_manifest(path, data.validation_split, "data.validation_manifest")
    manifest = transcribed(every)
    untranscribed = len(every) - len(manifest)
    if 0 < data.validation_utterances < len(manifest):
        manifest = hold_out(manifest, data.validation_utterances, set())[1]
    return manifest, untranscribed


def _languages(manifest: Manifest) -> list[str]:
    """The languages that a manifest names."""
    return sorted(name for name in manifest.column("language").unique().to_pylist() if name)


def _longest(manifest: Manifest, limit: float) -> float:
    """Seconds of the longest utterance that is not left out."""
    samples = manifest.samples[manifest.samples <= limit * SAMPLE_RATE]
    return float(samples.max()) / SAMPLE_RATE if len(samples) else limit


def _longest_heard(manifest: Manifest) -> float:
    """Seconds that 95 % of the utterances do not exceed."""
    return round(float(np.percentile(manifest.samples, 95)) / SAMPLE_RATE, 2)


def build_vocabulary(text: TextConfig, manifest: Manifest, normalization: TextNormalization) -> Vocabulary:
    """The vocabulary that the recipe names, or one of the symbols in the training transcripts."""
    if text.vocabulary:
        vocabulary: Vocabulary = Vocabulary.load(text.vocabulary)
        return vocabulary
    texts = transcribed(manifest).column("text").to_pylist()
    return Vocabulary.from_transcripts(texts, unit=text.symbols, normalization=normalization)


def _write_left_out(output: Path, transcripts: Transcripts) -> None:
    """Write the ids of the utterances that are not trained on, with the reasons."""
    if transcripts.left_out:
        output.mkdir(parents=True, exist_ok=True)
        lines = [f"{name}\t{reason}\n" for name, reason in transcripts.left_out]
        (output / "left_out.tsv").write_text("".join(lines), encoding="utf-8")
