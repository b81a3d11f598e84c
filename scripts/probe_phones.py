"""Phone accuracy of a linear probe on a model's frames: `python scripts/probe_phones.py -h`.

A recogniser aligns the transcripts, and espeak-ng (extra `wav2vec2[phones]`) gives the phones of words. A quarter of
the utterances is held out for testing. Frames of a layer are standardised, and a linear layer is trained on them for
eight epochs. For comparison, the probe is also trained on mel-frequency cepstra of one frame and of eleven, and the
share of the most frequent phone is shown.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.audio.recordings import Failure
from wav2vec2.checkpoints.load import load
from wav2vec2.data.dataset import fixed_batches
from wav2vec2.data.manifest import Manifest
from wav2vec2.errors import UserError
from wav2vec2.inference.align import Aligner
from wav2vec2.inference.manifest_rows import utterance_recording
from wav2vec2.model.architecture import Architecture
from wav2vec2.report.codes.phones import UNKNOWN, Interval, espeak_pronunciations, frame_labels, phone_intervals
from wav2vec2.train.pretrain.clusters import cepstra
from wav2vec2.train.pretrain.fixed_units import FrameFeatures, layer_output

BATCH, EPOCHS, LEARNING_RATE = 1024, 8, 3e-3
MOST_SAMPLES = 60 * SAMPLE_RATE


@dataclass(frozen=True)
class Labelled:
    """Utterances with the intervals of their phones."""

    manifest: Manifest
    intervals: Sequence[list[Interval]]


def labelled(manifest: Manifest, recogniser: str, utterances: int, language: str) -> Labelled:
    """Draw utterances at random and align them."""
    texts = list(manifest)
    drawn = np.random.default_rng(0).permutation(len(texts))
    rows = [int(row) for row in drawn if texts[row].text and manifest.samples[row] <= MOST_SAMPLES][:utterances]
    words = {word for row in rows for word in (texts[row].text or "").split()}
    pronounce = espeak_pronunciations(words, language)
    recordings = ((utterance_recording(texts[row]), texts[row].text or "") for row in rows)
    aligned = list(Aligner(recogniser).stream(recordings))
    kept = [(row, found) for row, found in zip(rows, aligned, strict=True) if not isinstance(found, Failure)]
    return Labelled(manifest.select([row for row, _ in kept]), [phone_intervals(found, pronounce) for _, found in kept])


def accuracy(features: FrameFeatures, architecture: Architecture, data: Labelled) -> tuple[float, float]:
    """Accuracy of the probe on test frames, and their share of the most frequent phone."""
    x, y, test = [], [], []
    normalize = architecture.normalize_input
    for batch in fixed_batches(data.manifest, MOST_SAMPLES, normalize=normalize, max_samples=MOST_SAMPLES):
        with torch.no_grad():
            hidden, lengths = features(batch.waveforms, batch.lengths)
        for place, (row, length) in enumerate(zip(batch.rows.tolist(), lengths.tolist(), strict=True)):
            times = np.array([architecture.frame_center(frame) for frame in range(length)])
            x.append(hidden[place, :length])
            y.append(frame_labels(data.intervals[row], times))
            test += [row % 4 == 0] * length
    names = {name: place for place, (name, _) in enumerate(Counter(label for row in y for label in row).most_common())}
    frames, labels = torch.cat(x), torch.tensor([names[label] for row in y for label in row])
    held, known = torch.tensor(test), labels != names.get(UNKNOWN, -1)
    seen = frames[~held & known]
    frames = (frames - seen.mean(0)) / (seen.std(0) + 1e-5)
    train, judged = ((frames[part & known], labels[part & known]) for part in (~held, held))
    return _linear(train, judged), float((judged[1] == train[1].mode().values).float().mean())


def _linear(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    torch.manual_seed(0)
    layer = nn.Linear(train[0].shape[1], int(train[1].max()) + 1)
    optimizer = torch.optim.AdamW(layer.parameters(), LEARNING_RATE, weight_decay=1e-2)
    for done in range(EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - done / EPOCHS)
        for part in torch.randperm(len(train[0])).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(layer(train[0][part]), train[1][part]).backward()
            optimizer.step()
    with torch.no_grad():
        return float((layer(test[0]).argmax(1) == test[1]).float().mean())


def _spliced(features: FrameFeatures, reach: int) -> FrameFeatures:
    """Each frame with `reach` neighbours on both sides."""

    def wider(waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        hidden, frames = features(waveforms, lengths)
        padded = F.pad(hidden, (0, 0, reach, reach))
        return torch.cat([padded[:, i : i + hidden.shape[1]] for i in range(2 * reach + 1)], -1), frames

    return wider


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="model directories or checkpoint files")
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--split")
    parser.add_argument("--align", required=True, help="recogniser to align the transcripts with")
    parser.add_argument("--utterances", type=int, default=160)
    parser.add_argument("--language", default="en-us")
    options = parser.parse_args()
    manifest = Manifest.open(options.manifest, split=options.split)
    data = labelled(manifest, options.align, options.utterances, options.language)

    def show(name: str, features: FrameFeatures, shape: Architecture) -> None:
        found, most = accuracy(features, shape, data)
        print(f"{100 * found:5.1f} %  {name} (the most frequent phone: {100 * most:.1f} %)", flush=True)

    shape = Architecture()
    mfcc = partial(cepstra, architecture=shape)
    show("cepstra of the frame", mfcc, shape)
    show("cepstra of 11 frames", _spliced(mfcc, 5), shape)
    for path in options.models:
        model = load(path).eval()
        for layer in sorted({0, model.architecture.layers // 2, model.architecture.layers}):
            show(f"{path}, layer {layer}", partial(layer_output, model, layer=layer), model.architecture)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
