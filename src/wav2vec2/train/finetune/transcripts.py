"""Transcribed utterances that CTC can be trained on; the others are counted and named."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from wav2vec2.data.manifest import Manifest
from wav2vec2.errors import UserError, quoted
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.ctc import can_align
from wav2vec2.text.vocabulary import Vocabulary

NAMED = 5


@dataclass(frozen=True)
class Transcripts:
    """Utterances to train on, and those left out."""

    manifest: Manifest
    """Utterances to train on."""
    left_out: list[tuple[str, str]]
    """(id, reason) of the others."""
    lines: list[str]
    """Report of what was left out."""
    counts: Counter[int]
    """How often each label occurs in the transcripts to train on."""


def transcribed(manifest: Manifest) -> Manifest:
    """The utterances that have a transcript. It may be empty: nothing is said.

    Raises:
        UserError: no utterance has one.
    """
    found = np.flatnonzero(manifest.column("text").is_valid().to_numpy(zero_copy_only=False))
    if not len(found):
        raise UserError(
            f"{manifest.name}: none of its {len(manifest)} utterances has a transcript; check its text column"
        )
    return manifest if len(found) == len(manifest) else manifest.select(found)


def usable_transcripts(manifest: Manifest, vocabulary: Vocabulary, architecture: Architecture) -> Transcripts:
    """Keep the utterances whose transcript fits: at least as many frames as labels and pairs of equal neighbours.

    Raises:
        UserError: no utterance is left.
    """
    keep: list[int] = []
    left_out: list[tuple[str, str]] = []
    reasons: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    counts: Counter[int] = Counter()
    columns = (manifest.column("id").to_pylist(), manifest.column("text").to_pylist(), manifest.samples.tolist())
    for index, (name, text, samples) in enumerate(zip(*columns, strict=True)):
        reason = "no transcript"
        if text is not None:
            normal = vocabulary.normalize(text)
            labels, frames = vocabulary.encode(normal), architecture.frame_length(samples)
            unknown.update(vocabulary.unknown_symbols(normal))
            reason = "" if can_align(frames, labels) else "more labels than frames"
        if reason:
            reasons[reason] += 1
            left_out.append((name, f"{reason} ({frames} frames, {len(labels)} labels)" if text is not None else reason))
        else:
            keep.append(index)
            counts.update(labels)
    if not keep:
        raise UserError(f"{manifest.name}: none of its {len(manifest)} utterances has a transcript that fits its audio")
    lines = []
    for reason, count in reasons.items():
        names = [name for name, why in left_out if why.startswith(reason)][:NAMED]
        lines.append(
            f"utterances left out: {count} with {reason}: {', '.join(names)}{', ...' if count > NAMED else ''}"
        )
    if unknown:
        shown = ", ".join(f"{quoted(symbol)} ({count})" for symbol, count in unknown.most_common(10))
        lines.append(f"not in the vocabulary, trained as the unknown symbol: {shown}")
    return Transcripts(manifest.select(np.asarray(keep, dtype=np.int64)), left_out, lines, counts)
