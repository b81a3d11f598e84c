"""Well-known models of the Hugging Face hub, as their files are remembered, not read for this test."""

from tests.parity.published import CTC, ENGLISH, GROUP, LAYER, LIBRISPEECH, PRETRAINING, Published, extractor, names

MEMORY: dict[str, Published] = {
    "facebook/wav2vec2-base-960h": Published(
        GROUP | {"architectures": CTC, "pad_token_id": 0, "vocab_size": 32, "hidden_dropout_prob": 0.1},
        True,
        LIBRISPEECH,
        names("<pad>", "<unk>", return_attention_mask=False, do_normalize=True),
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        preprocessor=extractor(True, False),
    ),
    "facebook/wav2vec2-large-960h-lv60-self": Published(
        LAYER | {"architectures": CTC, "pad_token_id": 0, "vocab_size": 32},
        True,
        LIBRISPEECH,
        names("<pad>", "<unk>", return_attention_mask=True, do_normalize=True),
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        preprocessor=extractor(True, True),
    ),
    "facebook/wav2vec2-large-xlsr-53": Published(
        LAYER | {"architectures": PRETRAINING, "pad_token_id": 0, "vocab_size": 32},
        True,
        preprocessor=extractor(True, True),
    ),
    "facebook/wav2vec2-base": Published(
        GROUP | {"architectures": PRETRAINING, "pad_token_id": 0, "freeze_feat_extract_train": True},
        True,
        preprocessor=extractor(True, False),
    ),
    # trained by fairseq on normalised audio, like all of MMS
    "facebook/mms-300m": Published(
        LAYER | {"architectures": PRETRAINING, "pad_token_id": 0, "vocab_size": 32, "adapter_attn_dim": None},
        True,
        preprocessor=extractor(True, True),
    ),
    # names that are objects, as tokenizers of 2021 and 2022 were saved
    "jonatasgrosman/wav2vec2-large-xlsr-53-english": Published(
        LAYER | {"architectures": CTC, "pad_token_id": 0, "vocab_size": 33, "mask_time_prob": 0.05},
        True,
        ("<pad>", "<s>", "</s>", "<unk>", "|", "'", "-", *ENGLISH),
        {},
        {
            "bos_token": {"content": "<s>", "lstrip": False},
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
        },
        preprocessor=extractor(True, True),
    ),
    # an early demo: capitals in the head, written in small letters
    "a tokenizer with do_lower_case": Published(
        GROUP | {"architectures": CTC, "pad_token_id": 29, "vocab_size": 30},
        False,
        ("|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ", "[UNK]", "[PAD]"),
        names(do_lower_case=True),
        preprocessor=extractor(False, False),
    ),
    "anton-l/wav2vec2-base-superb-sv": Published(
        GROUP | {"architectures": ["Wav2Vec2ForXVector"], "tdnn_dim": [8] * 5, "xvector_output_dim": 8},
        True,
        preprocessor=extractor(True, False),
    ),
    "anton-l/wav2vec2-base-superb-sd": Published(
        GROUP | {"architectures": ["Wav2Vec2ForAudioFrameClassification"], "num_labels": 2},
        True,
        preprocessor=extractor(True, True),
    ),
    "superb/wav2vec2-base-superb-sid": Published(
        GROUP | {"architectures": ["Wav2Vec2ForSequenceClassification"], "use_weighted_layer_sum": True},
        True,
        preprocessor=extractor(True, True),
    ),
    # a class of its own, which no library has: classifier.dense and classifier.out_proj
    "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim": Published(
        LAYER | {"architectures": ["Wav2Vec2ForSpeechClassification"], "vocab_size": 32},
        True,
        preprocessor=extractor(True, True),
    ),
    # architectures left out, as in files written by hand and by converters
    "a recogniser that does not say so": Published(
        LAYER | {"architectures": None, "pad_token_id": 0, "vocab_size": 32}, True, LIBRISPEECH
    ),
    "a pre-trained model that does not say so": Published(GROUP, False),
}
