"""The objective of fine-tuning (section 3.3): CTC loss, frozen phase, validation by greedy decoding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from wav2vec2.data.dataset import MicroBatch, fixed_batches
from wav2vec2.data.manifest import Manifest
from wav2vec2.decode.greedy import greedy_decode
from wav2vec2.device import moved
from wav2vec2.model.ctc import Wav2Vec2ForCTC, ctc_loss
from wav2vec2.model.randomness import Draw
from wav2vec2.text.error_rate import ErrorCounts, character_errors, word_errors
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train import distributed


@dataclass(frozen=True)
class LabelledBatch(MicroBatch):
    """A micro-batch and its labels."""

    targets: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.int64))
    """(B, L) labels."""
    target_lengths: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    """(B,) numbers of labels, always on the host."""
    frame_lengths: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    """(B,) frames, always on the host."""

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Self:
        """Return the batch on a device, its waveforms in ``dtype``."""
        return replace(super().to(device, dtype), targets=moved(self.targets, device))


class CTCObjective:
    """Negative log likelihood per sentence (implements ``train.objective.Objective``).

    Every utterance must have a transcript, for training and in ``validation``: see
    ``wav2vec2.train.finetune.transcripts``.

    Args:
        model: in training.
        vocabulary: symbols of its output layer.
        seed: of masks and dropout.
        freeze_updates: number of first updates that train only the output layer.
        validation: held-out utterances.
        micro_samples: most padded samples of a forward pass in validation.
        write: writes the model directory; None writes the model as it is.
    """

    def __init__(
        self,
        model: Wav2Vec2ForCTC,
        vocabulary: Vocabulary,
        *,
        seed: int,
        freeze_updates: int = 0,
        validation: Manifest | None = None,
        micro_samples: int = 0,
        write: Callable[[Wav2Vec2ForCTC, Path], None] | None = None,
    ) -> None:
        self.model: nn.Module = model
        self.chance: float | None = None
        self.judged = ""
        self.codebooks = (0, 0)
        self._model, self._vocabulary, self._seed, self._freeze = model, vocabulary, seed, freeze_updates
        self._validation, self._micro_samples = validation, micro_samples
        self._write = write
        self._examples: list[str] = []

    def trained(self, update: int) -> list[nn.Parameter]:
        """The output layer in the frozen phase, then all parameters that require a gradient."""
        source = self._model.head if update < self._freeze else self.model
        return [parameter for parameter in source.parameters() if parameter.requires_grad]

    def ready(self, batch: MicroBatch, update: int) -> MicroBatch:
        """The batch with its labels. See ``Objective.ready``."""
        if len(batch.rows):
            return self._labelled(batch)
        return self._labelled(batch.stand_in()) if distributed.active() else batch

    def _labelled(self, batch: MicroBatch) -> LabelledBatch:
        normalize, encode = self._vocabulary.normalize, self._vocabulary.encode
        labels = [torch.tensor(encode(normalize(text)), dtype=torch.int64) for text in _texts(batch)]
        return LabelledBatch(
            **vars(batch),
            targets=pad_sequence(labels, batch_first=True),
            target_lengths=torch.tensor([len(label) for label in labels]),
            frame_lengths=self._model.frame_lengths(batch.lengths),
        )

    def counts(self, batches: Sequence[MicroBatch], update: int) -> Tensor:
        """[sentences]."""
        sentences = sum(len(b.rows) for b in batches if isinstance(b, LabelledBatch) and not b.absent)
        return torch.tensor([sentences], dtype=torch.float64)

    def loss(
        self, module: nn.Module, batch: MicroBatch, number: int, counts: Tensor, update: int
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """One micro-batch's share of the mean loss per sentence."""
        if not isinstance(batch, LabelledBatch):
            return None, {}
        weight, rows = 0 if batch.absent else 1, len(batch.rows)
        logits, _ = module(
            batch.waveforms,
            None if batch.full else batch.lengths,
            draw=Draw(self._seed, update, batch.rows),
            train_encoder=update >= self._freeze,
        )
        total = weight * self._loss(logits, batch)
        sums = {"ctc": total, "labels": weight * batch.target_lengths.sum(), "sentences": torch.tensor(weight * rows)}
        return total / counts[0].clamp_min(1).to(total.dtype), sums

    def _loss(self, logits: Tensor, batch: LabelledBatch) -> Tensor:
        return ctc_loss(logits, batch.frame_lengths, batch.targets, batch.target_lengths, self._vocabulary.blank).sum()

    def sums(self) -> dict[str, Tensor]:
        """A zero for each sum that ``loss`` returns, float64."""
        return {name: torch.zeros((), dtype=torch.float64) for name in ("ctc", "labels", "sentences")}

    def numbers(self, sums: dict[str, Tensor], update: int) -> dict[str, float]:
        """Nats per sentence, which is minimised, and per label."""
        return {
            "loss": float(sums["ctc"] / sums["sentences"].clamp_min(1)),
            "per_label": float(sums["ctc"] / sums["labels"].clamp_min(1)),
            "encoder_trained": float(update >= self._freeze),
        }

    def describe(self, numbers: dict[str, float]) -> str:
        """The middle of a console line."""
        frozen = "" if numbers["encoder_trained"] else "  (output layer only)"
        return f"loss {numbers['loss']:.2f} nats a sentence, {numbers['per_label']:.3f} a label{frozen}"

    @torch.no_grad()
    def validate(self, module: nn.Module) -> dict[str, float] | None:
        """CER and WER of greedy decoding on the validation utterances, and the score (see ``selection_score``).

        For phone models the phone error rate, as ``per`` and ``wer``; TIMIT's phones are folded to 39 first.
        """
        if self._validation is None:
            return None
        parameter = next(self.model.parameters())
        words, characters = ErrorCounts(), ErrorCounts()
        sums, examples = self.sums(), []
        rank, world = distributed.place()
        fold = self._vocabulary.scoring_fold or str
        for batch in fixed_batches(
            self._validation,
            self._micro_samples,
            epsilon=self._model.architecture.normalization_epsilon,
            rank=rank,
            world=world,
        ):
            # other processes may need this one's weights
            labelled = self._labelled(batch if len(batch.rows) else batch.stand_in())
            there = labelled.to(parameter.device, parameter.dtype)
            logits, frame_lengths = module(there.waveforms, there.lengths)
            if there.absent:
                continue
            sums["ctc"] += self._loss(logits, there).cpu()
            sums["labels"] += there.target_lengths.sum()
            sums["sentences"] += len(batch.rows)
            for hypothesis, text in zip(
                greedy_decode(logits, frame_lengths, self._vocabulary.blank), _texts(batch), strict=True
            ):
                reference, decoded = (
                    fold(self._vocabulary.normalize(text)),
                    fold(self._vocabulary.decode(hypothesis.ids)),
                )
                words += word_errors(reference, decoded)
                characters += character_errors(reference, decoded)
                examples.append((reference, decoded))
        return self._scores(words, characters, sums, examples)

    def _scores(
        self, words: ErrorCounts, characters: ErrorCounts, sums: dict[str, Tensor], examples: list[tuple[str, str]]
    ) -> dict[str, float]:
        gathered = distributed.gather_objects((words, characters, sums["ctc"], sums["labels"], sums["sentences"]))
        words = sum((one[0] for one in gathered), ErrorCounts())
        characters = sum((one[1] for one in gathered), ErrorCounts())
        ctc, labels, sentences = (float(sum(one[i] for one in gathered)) for i in (2, 3, 4))
        middle = examples[len(examples) // 2 : len(examples) // 2 + 1]
        self._examples = [line for pair in middle for line in (f"  reference  {pair[0]}", f"  hypothesis {pair[1]}")]
        phones, per_label = self._vocabulary.unit == "whitespace", ctc / max(1.0, labels)
        judged = words.rate if phones else characters.rate
        rates = {"per" if phones else "cer": judged, "wer": words.rate, "score": selection_score(judged, per_label)}
        return rates | {"loss": ctc / max(1.0, sentences), "per_label": per_label}

    def remarks(self) -> list[str]:
        """Reference and hypothesis of one utterance of the last validation."""
        return self._examples

    def export(self, model: nn.Module, directory: Path) -> None:
        """Write a model directory, with the vocabulary."""
        from wav2vec2.checkpoints.huggingface.directory import save

        assert isinstance(model, Wav2Vec2ForCTC)
        (self._write or save)(model, directory)


def selection_score(rate: float, per_label: float) -> float:
    """Score that the best weights minimise: the error rate; above a rate of 0.7, the loss per label.

    A model that writes nothing has a rate of 1, one that writes frequent letters at random little more than 0.7. Both
    rates stay the same for hundreds of updates in which the loss falls. The loss also decides between equal rates.
    """
    return min(rate, 0.7) + 1e-6 * min(per_label, 1e3)


def _texts(batch: MicroBatch) -> list[str]:
    texts = [text for text in batch.texts if text is not None]
    if len(texts) < len(batch.texts):  # the loss of an empty target would count as that of a sentence
        raise ValueError("an utterance without a transcript has no CTC loss")
    return texts
