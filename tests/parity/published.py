"""The form in which configuration files of published models are told, and what many of them share."""

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

GROUP: Json = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
LAYER: Json = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
CTC, PRETRAINING = ["Wav2Vec2ForCTC"], ["Wav2Vec2ForPreTraining"]


@dataclass(frozen=True)
class Published:
    """The files of a model; an empty table is a file that is not there. vocab: symbols in the order of their ids.

    normalized: what must become of the input.
    """

    config: Json
    normalized: bool
    vocab: tuple[str, ...] = ()
    tokenizer: Json = field(default_factory=dict)
    special: Json = field(default_factory=dict)
    added: Json = field(default_factory=dict)
    preprocessor: Json = field(default_factory=dict)
    processor: Json = field(default_factory=dict)


def extractor(normalize: bool, mask: bool) -> Json:
    return {
        "do_normalize": normalize,
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": mask,
        "sampling_rate": 16000,
    }


def names(pad: str = "[PAD]", unk: str = "[UNK]", **more: Any) -> Json:
    return {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": pad,
        "unk_token": unk,
        "do_lower_case": False,
        "word_delimiter_token": "|",
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        **more,
    }


def listed(**tokens: int) -> Json:
    """added_tokens_decoder as transformers 4.34 and later writes it, by name here."""
    contents = {"unk": "[UNK]", "pad": "[PAD]", "bos": "<s>", "eos": "</s>"}
    return {
        str(index): {"content": contents[name], "lstrip": name in ("unk", "pad"), "special": name in ("bos", "eos")}
        for name, index in tokens.items()
    }


ENGLISH = tuple("abcdefghijklmnopqrstuvwxyz")
LIBRISPEECH = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
SLOTS = {"replace_word_delimiter_char": " ", "target_lang": None, "processor_class": "Wav2Vec2Processor"}
