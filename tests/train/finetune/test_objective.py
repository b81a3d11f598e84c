"""The objective of fine-tuning: its numbers, its scores, what it trains."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.train.tiny_run import TINY, micro_batch

from wav2vec2.data.dataset import MicroBatch
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.waveforms import read_utterance
from wav2vec2.decode.greedy import greedy_decode
from wav2vec2.model.architecture import Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC, ctc_loss
from wav2vec2.text.error_rate import ErrorCounts, character_errors, word_errors
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train.finetune.objective import CTCObjective, selection_score

VOCABULARY = Vocabulary.from_transcripts(["AB BA"])


def objective(**options: object) -> CTCObjective:
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(TINY.build(), len(VOCABULARY), Regularization(), Masking())
    return CTCObjective(model, VOCABULARY, seed=3, **options)  # type: ignore[arg-type]


def batch(rows: tuple[int, ...], text: str | None = "AB") -> MicroBatch:
    return replace(micro_batch(rows), texts=(text,) * len(rows))


def test_the_loss_is_the_mean_over_the_sentences_of_all_micro_batches() -> None:
    of = objective()
    parts = [of.ready(one, 4) for one in (batch((0, 1)), batch((2,), "B"), batch(()))]
    counts = of.counts(parts, 4)
    assert counts.tolist() == [3.0]
    sums = of.sums()
    losses = []
    for number, part in enumerate(parts):
        loss, terms = of.loss(of.model, part, number, counts, 4)
        losses.append(loss)
        for name, value in terms.items():
            sums[name] += value.detach()
    assert losses[2] is None
    assert sums["sentences"] == 3
    assert sums["labels"] == 5
    total = sum(float(loss.detach()) for loss in losses if loss is not None)
    numbers = of.numbers(sums, 4)
    assert numbers == pytest.approx({"loss": total, "per_label": total * 3 / 5, "encoder_trained": 1.0}, rel=1e-5)
    assert of.describe(numbers) == f"loss {total:.2f} nats a sentence, {total * 3 / 5:.3f} a label"


def test_in_the_frozen_phase_the_output_layer_alone_is_trained_and_the_line_says_so() -> None:
    of = objective(freeze_updates=2)
    assert [len(of.trained(update)) for update in (0, 1)] == [2, 2]
    assert len(of.trained(2)) == len(list(of.model.parameters()))
    assert of.describe(of.numbers(of.sums(), 1)).endswith("a label  (output layer only)")
    assert not of.describe(of.numbers(of.sums(), 2)).endswith("(output layer only)")


def test_an_utterance_without_a_transcript_is_refused() -> None:
    of = objective()
    with pytest.raises(ValueError, match="has no CTC loss"):
        of.ready(batch((0,), None), 0)


def test_validation_counts_errors_and_losses_over_all_utterances(labelled_corpus: Path) -> None:
    manifest = Manifest.open(labelled_corpus)
    of = objective(validation=manifest, micro_samples=40_000)
    of.model.eval()
    found = of.validate(of.model)
    words, characters, nats, labels = ErrorCounts(), ErrorCounts(), 0.0, 0
    for utterance in manifest:
        with torch.no_grad():
            logits, lengths = of.model(torch.from_numpy(read_utterance(utterance))[None])
        ids = VOCABULARY.encode(VOCABULARY.normalize(utterance.text))
        nats += float(ctc_loss(logits, lengths, torch.tensor([ids]), torch.tensor([len(ids)]), VOCABULARY.blank))
        labels += len(ids)
        decoded = VOCABULARY.decode(greedy_decode(logits, lengths, VOCABULARY.blank)[0].ids)
        words += word_errors(utterance.text, decoded)
        characters += character_errors(utterance.text, decoded)
    expected = {"cer": characters.rate, "wer": words.rate, "loss": nats / 12, "per_label": nats / labels}
    assert found == pytest.approx(expected | {"score": selection_score(characters.rate, nats / labels)}, rel=1e-4)
    reference, hypothesis = of.remarks()
    assert reference.startswith("  reference  ")
    assert hypothesis.startswith("  hypothesis ")
    assert objective().validate(of.model) is None


def test_the_loss_chooses_the_best_weights_while_the_error_rate_says_nothing() -> None:
    guessing, silent, learning, writing = (0.716, 3.008), (1.0, 2.9), (0.906, 2.744), (0.59, 2.5)
    order = sorted([guessing, silent, learning, writing], key=lambda one: selection_score(*one))
    assert order == [writing, learning, silent, guessing]
    assert selection_score(0.2, 9.0) < selection_score(0.21, 0.1)
    assert selection_score(0.631, 2.63) < selection_score(0.676, 2.38)


def test_the_loss_decides_between_equal_rates_and_never_outweighs_one() -> None:
    assert selection_score(0.2, 1.0) < selection_score(0.2, 1.1)
    assert selection_score(0.2, math.inf) < selection_score(0.202, 0.0)
    assert selection_score(0.7, 3.0) == pytest.approx(selection_score(1.5, 3.0))
