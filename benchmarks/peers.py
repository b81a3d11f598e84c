"""The two sides of a comparison, each in a process of its own, taking turns.

Both load the same model directory. While one works the other sleeps on its pipe, so their times do not disturb each
other and their memory is told apart. Memory is the highest resident size since loading ended, less the size then.
"""

import ctypes
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from wav2vec2.audio.read import SAMPLE_RATE

Side = Literal["wav2vec2", "transformers"]
SIDES: tuple[Side, Side] = ("wav2vec2", "transformers")
Work = Callable[[list[np.ndarray], int], Tensor]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class Task:
    """What the processes do: ``pretrain`` or ``infer`` with the model in ``directory``."""

    kind: Literal["pretrain", "infer"]
    directory: Path
    threads: int
    keep_freed_memory: bool
    """Ask the C library to keep what is freed (mallopt) instead of returning and faulting in every large block."""


@dataclass(frozen=True)
class Measured:
    """One side's turns and its growth in bytes."""

    seconds: list[float]
    cpu_seconds: list[float]
    """Of all threads together: what other work on the machine disturbs least."""
    growth: int


def collate(rows: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Waveforms to a zero-padded (B, S) and lengths (B,)."""
    tensors = [torch.from_numpy(row) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True), torch.tensor([len(row) for row in rows])


def _optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01)


def our_pretraining(directory: Path) -> Work:
    """Forward, backward and optimiser update as the training loop of this package does them."""
    import wav2vec2
    from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
    from wav2vec2.model.quantizer import diversity_loss
    from wav2vec2.model.randomness import Draw

    model = wav2vec2.load(directory).train()
    assert isinstance(model, Wav2Vec2ForPretraining)
    optimizer = _optimizer(model)

    def work(rows: list[np.ndarray], step: int) -> Tensor:
        waveforms, lengths = collate(rows)
        output = model(waveforms, lengths, draw=Draw(1, step, torch.arange(len(rows))))
        loss = output.contrastive_sum / output.masked
        loss = loss + 0.1 * diversity_loss(output.probability_sum / output.masked)
        loss = loss + 10 * output.penalty_sum / output.penalty_count
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return work


def their_pretraining(directory: Path) -> Work:
    """The same as transformers' users do it: masks and negatives by its own functions.

    The group-norm family takes no attention mask, as its preprocessor configuration says.
    """
    from transformers import Wav2Vec2ForPreTraining
    from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices, _sample_negative_indices

    model = Wav2Vec2ForPreTraining.from_pretrained(directory).train()
    config = model.config
    masked_attention = config.feat_extract_norm == "layer"
    optimizer = _optimizer(model)

    def work(rows: list[np.ndarray], step: int) -> Tensor:
        waveforms, lengths = collate(rows)
        frames = int(model._get_feat_extract_output_lengths(waveforms.shape[1]))
        attention, frame_attention = None, None
        if masked_attention:
            attention = (torch.arange(waveforms.shape[1]) < lengths[:, None]).long()
            frame_attention = model._get_feature_vector_attention_mask(frames, attention)
        shape = (len(rows), frames)
        masks = _compute_mask_indices(
            shape,
            config.mask_time_prob,
            config.mask_time_length,
            attention_mask=frame_attention,
            min_masks=config.mask_time_min_masks,
        )
        negatives = _sample_negative_indices(shape, config.num_negatives, mask_time_indices=masks)
        output = model(
            waveforms,
            attention_mask=attention,
            mask_time_indices=torch.from_numpy(masks),
            sampled_negative_indices=torch.from_numpy(negatives).long(),
        )
        loss = output.loss / int(masks.sum())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return work


def our_inference(directory: Path) -> Work:
    """A batch to logits that a greedy decoder takes."""
    import wav2vec2

    model = wav2vec2.load(directory)

    @torch.inference_mode()
    def work(rows: list[np.ndarray], step: int) -> Tensor:
        return model(*collate(rows))[0]

    return work


def their_inference(directory: Path) -> Work:
    """The same; the group-norm family takes no attention mask, as its preprocessor configuration says."""
    from transformers import Wav2Vec2ForCTC

    model = Wav2Vec2ForCTC.from_pretrained(directory).eval()
    masked_attention = model.config.feat_extract_norm == "layer"

    @torch.inference_mode()
    def work(rows: list[np.ndarray], step: int) -> Tensor:
        waveforms, lengths = collate(rows)
        attention = (torch.arange(waveforms.shape[1]) < lengths[:, None]).long() if masked_attention else None
        return model(waveforms, attention_mask=attention).logits

    return work


WORK = {
    ("pretrain", "wav2vec2"): our_pretraining,
    ("pretrain", "transformers"): their_pretraining,
    ("infer", "wav2vec2"): our_inference,
    ("infer", "transformers"): their_inference,
}


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc/self/status: memory can be measured on Linux only")


def _process(task: Task, side: Side, pipe: Connection) -> None:
    torch.set_num_threads(task.threads)
    torch.manual_seed(0)
    np.random.seed(0)
    if task.keep_freed_memory:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    work = WORK[task.kind, side](task.directory)
    Path("/proc/self/clear_refs").write_text("5")  # starts VmHWM anew
    loaded = _resident("VmRSS:")
    pipe.send("loaded")
    while (message := pipe.recv()) is not None:
        command, rows, step = message
        if command == "profile":
            pipe.send(_profile(work, rows))
        elif command == "output":
            pipe.send(work(rows, step).numpy())
        else:
            start, cpu_start = time.perf_counter(), time.process_time()
            work(rows, step)
            pipe.send((time.perf_counter() - start, time.process_time() - cpu_start))
    pipe.send(_resident("VmHWM:") - loaded)


def _profile(work: Work, rows: list[np.ndarray]) -> str:
    work(rows, 0)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        work(rows, 1)
    return profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=18, max_name_column_width=60)


class Peers:
    """Both processes; ``turns`` alternates between them."""

    def __init__(self, task: Task) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: dict[Side, Connection] = {}
        self._processes = []
        for side in SIDES:
            near, far = context.Pipe()
            process = context.Process(target=_process, args=(task, side, far), daemon=True)
            process.start()
            far.close()
            near.recv()
            self._pipes[side] = near
            self._processes.append(process)

    def ask(self, side: Side, command: str, rows: list[np.ndarray], step: int = 0) -> Any:
        """Let one side do one thing and return its answer."""
        self._pipes[side].send((command, rows, step))
        answer = self._pipes[side].recv()
        time.sleep(0.05)  # threads of the side that just worked may still spin
        return answer

    def turns(self, batches: list[list[np.ndarray]], warmup: int) -> dict[Side, list[tuple[float, float]]]:
        """Seconds and CPU seconds of every batch on each side, A B A B, after ``warmup`` rounds."""
        seconds: dict[Side, list[tuple[float, float]]] = {side: [] for side in SIDES}
        for step, rows in enumerate([*batches[:warmup], *batches]):
            for side in SIDES:
                taken = self.ask(side, "work", rows, step)
                if step >= warmup:
                    seconds[side].append(taken)
        return seconds

    def measure(self, batches: list[list[np.ndarray]], warmup: int) -> dict[Side, Measured]:
        """Run all batches on both sides and end."""
        turns = self.turns(batches, warmup)
        growth = self.finish()
        return {
            side: Measured([t[0] for t in turns[side]], [t[1] for t in turns[side]], growth[side]) for side in SIDES
        }

    def finish(self) -> dict[Side, int]:
        """End the processes and return how much memory each needed above its loaded size."""
        growth = {}
        for side, pipe in self._pipes.items():
            pipe.send(None)
            growth[side] = pipe.recv()
        for process in self._processes:
            process.join()
        return growth


def audio_seconds(rows: list[np.ndarray]) -> float:
    """Seconds of speech in a batch, without padding."""
    return sum(len(row) for row in rows) / SAMPLE_RATE
