"""Training data of a run: open manifests, plan batches, report what is left out."""

import functools
import math
import os
from dataclasses import astuple, dataclass

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.batch_plan import BatchPlan
from wav2vec2.data.buckets import LEAST_FILL
from wav2vec2.data.dataset import UpdateLoader
from wav2vec2.data.decoded_audio import DecodedAudio, audio_key
from wav2vec2.data.manifest import Manifest
from wav2vec2.data.mixing import Groups
from wav2vec2.data.sampler import Plan
from wav2vec2.errors import UserError, cause
from wav2vec2.input_file import MOST_LINES, read_text
from wav2vec2.train.distributed import Ranks
from wav2vec2.train.finetune.curriculum import CurriculumConfig, ShortFirst, short_samples
from wav2vec2.train.options import BatchConfig
from wav2vec2.train.read_workers import AUTO, counted

_MEASURED = 200_000
_EVEN = 0.95
_MUCH = 0.1


def open_manifest(path: str, split: str, option: str) -> Manifest:
    """Open the manifest that an option of a recipe names.

    Raises:
        UserError: the option is empty, or the manifest has no utterance of that split.
    """
    if not path:
        raise UserError(f"{option} is not set: give a manifest written by 'wav2vec2 prepare'")
    manifest = Manifest.open(path, split or None)
    if not len(manifest):
        of = f" of split '{split}'" if split else ""
        raise UserError(f"{path}: has no utterance{of}; correct {option} or the split")
    return manifest


def read_ids(path: str) -> set[str]:
    """Read a list of utterance ids, one per line.

    Raises:
        UserError: it cannot be read.
    """
    try:
        ids = {line.strip() for line in read_text(path, most=MOST_LINES).splitlines()}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of utterance ids ({cause(error)})") from None
    return ids - {""}


@dataclass(frozen=True)
class Corpus:
    """A loader of planned batches, lines that describe the data, and a hash of the utterances' lengths."""

    loader: UpdateLoader
    lines: list[str]
    fingerprint: str


def plan_corpus(
    manifest: Manifest,
    batch: BatchConfig,
    ranks: Ranks,
    *,
    seed: int,
    crop: bool,
    epsilon: float | None,
    heard: float = 100.0,
    groups: Groups | None = None,
    curriculum: CurriculumConfig | None = None,
    updates: int = 0,
) -> Corpus:
    """Plan the batches of a manifest for this process.

    Args:
        manifest: the utterances.
        batch: size of an update and limits of utterance lengths.
        ranks: this process.
        seed: of order and crops.
        crop: crop long utterances at random; otherwise leave them out.
        epsilon: give each utterance mean 0 and variance 1, with this epsilon; None: leave it as it is.
        heard: seconds of audio a second that the device hears at most, from which reading processes are counted.
        groups: the groups of utterances to balance, if any.
        curriculum: begin with short utterances.
        updates: length of the run, of which the curriculum takes its share.

    Raises:
        UserError: no utterance is within the limits, or an utterance is longer than a batch.
    """
    planned = functools.partial(
        BatchPlan,
        batch_samples=round(batch.seconds * SAMPLE_RATE),
        group_samples=round(batch.micro_seconds * ranks.world * SAMPLE_RATE),
        min_samples=round(batch.min_seconds * SAMPLE_RATE),
        seed=seed,
        jitter=batch.length_jitter,
        crop=crop,
        buckets=batch.buckets,
        multiple=batch.multiple,
    )
    longest = round(batch.max_seconds * SAMPLE_RATE)
    plan = planned(manifest.samples, max_samples=longest, groups=groups)
    lines = _described(plan, batch, ranks)
    # A part of a large corpus shows as well what becomes of the audio.
    few = manifest.samples[:: len(plan) // _MEASURED + 1]
    lines += _used(plan if len(plan) <= _MEASURED else planned(few, max_samples=longest), batch, ranks)
    ordered: Plan = plan
    if curriculum is not None and (count := round(curriculum.share * updates)):
        limit = short_samples(curriculum, plan.lengths, round(count * batch.seconds * SAMPLE_RATE))
        short = planned(manifest.samples, max_samples=limit, groups=groups)
        if len(short) < len(plan):
            ordered = ShortFirst(short, plan, count)
            seconds = f"{limit / SAMPLE_RATE:.4g} s (curriculum)"
            lines.append(f"the first {count} updates use only the {len(short)} utterances of at most {seconds}")
    loader = _loader(manifest, ordered, batch, ranks, epsilon)
    if batch.workers == AUTO:
        loader.workers, why = counted(manifest, longest, heard, accelerated=ranks.device.type == "cuda")
        lines.append(why)
    return Corpus(loader, lines, plan.fingerprint)


def _loader(manifest: Manifest, plan: Plan, batch: BatchConfig, ranks: Ranks, epsilon: float | None) -> UpdateLoader:
    return UpdateLoader(
        manifest,
        plan,
        epsilon=epsilon,
        rank=ranks.rank,
        world=ranks.world,
        workers=max(0, batch.workers),
        prefetch=batch.prefetch,
        pin_memory=ranks.device.type == "cuda",
        near=int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if batch.by_node else 0,
        decoded=DecodedAudio(manifest.samples, audio_key(manifest)) if batch.in_memory else None,
    )


def _described(plan: BatchPlan, batch: BatchConfig, ranks: Ranks) -> list[str]:
    """Return lines for the console: how much speech there is, and what is left out."""
    hours = plan.epoch_samples / SAMPLE_RATE / 3600
    lines = [
        f"training speech: {len(plan)} utterances, {hours:.2f} h an epoch "
        f"(about {math.ceil(plan.epoch_samples / SAMPLE_RATE / batch.seconds)} updates of {batch.seconds:g} s "
        f"over {ranks.world} process{'es' if ranks.world > 1 else ''})"
    ]
    if plan.too_short:
        lines.append(f"utterances left out: {plan.too_short} shorter than {batch.min_seconds:g} s (batch.min_seconds)")
    if plan.too_long:
        lines.append(f"utterances left out: {plan.too_long} longer than {batch.max_seconds:g} s (batch.max_seconds)")
    if plan.mixture is not None:
        lines += plan.mixture.lines()
    return lines


def _used(plan: BatchPlan, batch: BatchConfig, ranks: Ranks) -> list[str]:
    """Return lines about static shapes, and about forward passes of a GPU that are not full."""
    if plan.buckets is None and ranks.device.type == "cpu":
        return []  # nothing is padded there, and small forward passes are as fast
    found, lines = plan.usage(0, ranks.world), []
    fill, padding, lost, even = (f"{100 * share:.3g} %" for share in astuple(found))
    if plan.buckets is not None:
        shortest, longest = plan.buckets.lengths[[0, -1]] / SAMPLE_RATE
        lines.append(
            f"static shapes: {len(plan.buckets.lengths)} lengths from {shortest:.4g} to {longest:.4g} s; forward "
            f"passes filled to {fill}, of which {padding} padding; {lost} of the audio cropped away an epoch"
            + (" (batch.buckets = 0 crops nothing away)" if found.lost > _MUCH else "")
        )
        if found.even < _EVEN:
            lines.append(
                f"  the {ranks.world} processes work unevenly ({even} of the busiest on average): choose a "
                "batch.multiple that is a multiple of their number"
            )
    if found.fill < LEAST_FILL:
        share = batch.seconds / ranks.world
        better = share / max(1, round(share / batch.micro_seconds))
        lines.append(
            f"forward passes are filled to {fill} of batch.micro_seconds: {better:.4g} would fit batch.seconds and "
            f"{ranks.world} processes better"
            + ("" if plan.buckets is not None else ", and batch.buckets = 8 avoids padding")
        )
    return lines
