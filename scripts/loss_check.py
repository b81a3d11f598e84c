"""Twenty deterministic training steps of three tiny models, compared with stored losses.

    python scripts/loss_check.py                     within 1e-3 of tests/train/loss_check.json
    python scripts/loss_check.py --write             store the losses of this checkout
    python scripts/loss_check.py --exact ../other    bit for bit those of another checkout, on this machine

A change that should not alter results gives the same bits; one that should is announced by new stored losses.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import torch

from wav2vec2.data.dataset import MicroBatch
from wav2vec2.model.architecture import Architecture, Masking, Regularization
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train import optimizer
from wav2vec2.train.finetune.objective import CTCObjective
from wav2vec2.train.objective import Objective
from wav2vec2.train.options import TrainConfig
from wav2vec2.train.pretrain.objective import ContrastiveObjective, LossConfig

STORED = Path(__file__).resolve().parents[1] / "tests" / "train" / "loss_check.json"
STEPS = 20
TOLERANCE = 1e-3
LENGTHS = (16_000, 13_000, 12_345, 8_000)
TEXTS = ("ABBA", "BAB", "AB A", "B")


def waveform(number: int) -> torch.Tensor:
    """Two gliding tones by a fixed formula."""
    time = torch.arange(LENGTHS[number % 4], dtype=torch.float64) / 16_000
    glide = torch.sin(2 * math.pi * (1.3 + 0.2 * number) * time)
    tones = torch.sin(2 * math.pi * (110 + 23 * number) * time + 7 * glide) + 0.5 * torch.sin(5_000 * time + 9 * glide)
    return (0.4 * tones * (0.6 + 0.4 * glide)).float()


def micro_batch(rows: tuple[int, ...]) -> MicroBatch:
    """Padded waveforms of some rows."""
    waves = [waveform(row) for row in rows]
    return MicroBatch(
        torch.nn.utils.rnn.pad_sequence(waves, batch_first=True),
        torch.tensor([len(wave) for wave in waves]),
        torch.tensor(rows),
        tuple(map(str, rows)),
        tuple(TEXTS[row % 4] for row in rows),
    )


def objectives() -> dict[str, Objective]:
    """A tiny model of each family, and a recogniser, each with everything random switched on."""
    sizes = {"hidden_size": 32, "layers": 2, "ffn_size": 64, "heads": 2, "pos_conv_kernel": 16, "pos_conv_groups": 4}
    codes = {"codebook_entries": 16, "codevector_size": 16, "final_size": 16, "negatives": 10}
    group = Architecture(name="check", conv_channels=(16,) * 7, **sizes, **codes)  # type: ignore[arg-type]
    layer = Architecture(
        name="check",
        conv_channels=(16,) * 7,
        conv_norm="layer",
        conv_bias=True,
        layer_norm_first=True,
        **sizes,
        **codes,  # type: ignore[arg-type]
    )
    masking = Masking(time_start=0.1, channel_start=0.02, channel_span=4)
    found: dict[str, Objective] = {}
    for name, architecture in (("group", group), ("layer", layer)):
        torch.manual_seed(1)
        model = Wav2Vec2ForPretraining(architecture, Regularization(), Masking())
        found[name] = ContrastiveObjective(model, LossConfig(), seed=3)
    torch.manual_seed(1)
    vocabulary = Vocabulary.from_transcripts(TEXTS)
    found["ctc"] = CTCObjective(
        Wav2Vec2ForCTC(group, len(vocabulary), Regularization(), masking), vocabulary, seed=3, freeze_updates=2
    )
    return found


def train(objective: Objective) -> list[float]:
    """Losses of the updates: two micro-batches each, AdamW with warm-up."""
    config = TrainConfig(updates=STEPS, lr=3e-3, warmup_share=0.2)
    steps, _ = optimizer.build_optimizer(objective.model.named_parameters(), config)
    schedule, losses = optimizer.schedule(config), []
    objective.model.train()
    for update in range(STEPS):
        batches = [objective.ready(micro_batch(rows), update) for rows in ((0, 1), (2, 3))]
        counts, total = objective.counts(batches, update), 0.0
        for number, batch in enumerate(batches):
            torch.manual_seed(1000 * update + number)
            loss, _ = objective.loss(objective.model, batch, number, counts, update)
            assert loss is not None
            loss.backward()
            total += float(loss.detach())
        optimizer.set_lr(steps, config.lr * schedule(update))
        steps.step()
        steps.zero_grad()
        losses.append(total)
    return losses


def of_another(checkout: Path) -> dict[str, list[float]]:
    """The losses that another checkout's script and package give on this machine."""
    script = checkout / "scripts" / "loss_check.py"
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    done = subprocess.run([sys.executable, str(script), "--json"], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{script} failed:\n{done.stderr}")
    losses: dict[str, list[float]] = json.loads(done.stdout)
    return losses


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="store this checkout's losses")
    parser.add_argument("--json", action="store_true", help="print the losses as JSON and compare nothing")
    parser.add_argument("--exact", type=Path, metavar="CHECKOUT", help="compare bit for bit with another checkout")
    options = parser.parse_args()
    torch.set_num_threads(1)
    losses = {name: train(objective) for name, objective in objectives().items()}
    if options.json:
        print(json.dumps(losses))
        return 0
    if options.write:
        STORED.write_text(json.dumps({n: [round(x, 6) for x in v] for n, v in losses.items()}, indent=1) + "\n")
        print(f"wrote {STORED}")
        return 0
    expected = of_another(options.exact) if options.exact else json.loads(STORED.read_text())
    tolerance, wrong = (0.0 if options.exact else TOLERANCE), 0
    for name, values in losses.items():
        worst = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(values, expected[name], strict=True))
        wrong += worst > tolerance
        verdict = "differs" if worst > tolerance else "as expected"
        print(f"{name:6} {values[0]:9.4f} -> {values[-1]:9.4f}   largest difference {worst:.2e}   {verdict}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
