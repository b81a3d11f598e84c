"""``wav2vec2 info MODEL``: what a model is, in a few lines, from its configuration alone."""

from dataclasses import dataclass


@dataclass(frozen=True)
class InfoOptions:
    """What a model is: family, sizes, parameters, vocabulary, normalisation."""

    model: str
    """A model directory, or a checkpoint file that ``wav2vec2.load`` reads."""


def run(options: InfoOptions) -> None:
    """Print the description; raises UserError when the model cannot be read."""
    from wav2vec2.checkpoints.load import describe

    model = describe(options.model)
    a = model.architecture
    rows = {
        "model": f"{model.source} ({model.file_format})",
        "kind": "recogniser (CTC)" if model.kind == "ctc" else "pre-training",
        "family": model.family,
        "convolutions": f"channels {', '.join(map(str, a.conv_channels))}; a frame every {a.stride} samples",
        "transformer": f"{a.layers} layers, width {a.hidden_size}, feed-forward {a.ffn_size}, {a.heads} heads",
        "parameters": f"{model.parameters:,}",
        "input": "16 kHz, " + ("zero mean and unit variance per utterance" if a.normalize_input else "as it is"),
    }
    if model.kind == "pretraining":
        rows["quantizer"] = f"{a.codebook_groups} groups of {a.codebook_entries} entries, code size {a.codevector_size}"
    elif model.vocabulary is None:
        rows["vocabulary"] = f"{model.vocabulary_size} symbols, not stored with the model"
    else:
        rows["vocabulary"] = f"{len(model.vocabulary)} symbols: {' '.join(model.vocabulary.symbols)}"
    for name, value in rows.items():
        print(f"{name:<14}{value}")
