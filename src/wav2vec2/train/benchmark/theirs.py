"""The same steps by transformers, as its users take them: masks and distractors by its own functions.

Its group-norm family takes no attention mask, as its preprocessor configuration says.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.train.benchmark.ours import SEED, autocast
from wav2vec2.train.benchmark.workload import Waveforms, Workload, made_up_text, padded, vocabulary


@dataclass
class _Batch:
    waveforms: Tensor
    attention: Tensor | None
    masks: Tensor | None = None
    negatives: Tensor | None = None
    labels: Tensor | None = None


class TheirSteps:
    """Steps of transformers' Wav2Vec2ForPreTraining or Wav2Vec2ForCTC, with the weights of a model directory.

    Masks and distractors are drawn beforehand, as by a data loader: they do not count.
    """

    def __init__(self, w: Workload, directory: Path) -> None:
        import transformers

        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.workload, self.device = w, torch.device(w.device)
        kind = transformers.Wav2Vec2ForPreTraining if w.task == "pretrain" else transformers.Wav2Vec2ForCTC
        model: Any = kind.from_pretrained(directory)
        self.config = model.config
        self.config.ctc_loss_reduction = "mean"
        if w.frozen and w.task == "finetune":
            model.freeze_feature_encoder()
        self.model: nn.Module = model.to(self.device).train(w.task != "inference")
        if w.task != "inference":
            t = w.train
            self.optimizer = torch.optim.AdamW(
                [p for p in model.parameters() if p.requires_grad],
                lr=1e-5,
                betas=(t.beta1, t.beta2),
                eps=t.eps,
                weight_decay=t.weight_decay,
                fused=True,
            )
        np.random.seed(SEED)

    def ready(self, rows: Waveforms, update: int) -> _Batch:
        """What its collator would hand over."""
        from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices, _sample_negative_indices

        waveforms, lengths = padded(rows)
        batch = _Batch(waveforms, None)
        layer = self.config.feat_extract_norm == "layer"
        if layer:
            batch.attention = (torch.arange(waveforms.shape[1]) < lengths[:, None]).long()
        if self.workload.task == "pretrain":
            frames = int(self.model._get_feat_extract_output_lengths(waveforms.shape[1]))  # type: ignore[operator]
            attention = (
                self.model._get_feature_vector_attention_mask(frames, batch.attention)  # type: ignore[operator]
                if layer
                else None
            )
            masks = _compute_mask_indices(
                (len(rows), frames),
                self.config.mask_time_prob,
                self.config.mask_time_length,
                attention_mask=attention,
                min_masks=self.config.mask_time_min_masks,
            )
            negatives = _sample_negative_indices(
                (len(rows), frames), self.config.num_negatives, mask_time_indices=masks
            )
            batch.masks, batch.negatives = torch.from_numpy(masks), torch.from_numpy(negatives).long()
        elif self.workload.task == "finetune":
            encode = vocabulary().encode
            labels = [
                torch.tensor(encode(made_up_text(len(row) / SAMPLE_RATE, SEED + i))) for i, row in enumerate(rows)
            ]
            batch.labels = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
        return batch

    def compute(self, batch: _Batch, update: int) -> Tensor | None:
        """One update with one micro-batch, or a batch to logits."""
        there: dict[str, Any] = {
            name: None if value is None else value.to(self.device, non_blocking=True)
            for name, value in vars(batch).items()
        }
        if self.workload.task == "inference":
            with torch.inference_mode(), autocast(self.workload):
                logits: Tensor = self.model(there["waveforms"], attention_mask=there["attention"]).logits
            return logits
        with autocast(self.workload):
            if self.workload.task == "pretrain":
                output = self.model(
                    there["waveforms"],
                    attention_mask=there["attention"],
                    mask_time_indices=there["masks"],
                    sampled_negative_indices=there["negatives"],
                )
                loss = output.loss / there["masks"].sum()
            else:
                loss = self.model(there["waveforms"], attention_mask=there["attention"], labels=there["labels"]).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return None

    def forget_gradients(self) -> None:
        """Free what a step that failed has left."""
        self.model.zero_grad(set_to_none=True)
