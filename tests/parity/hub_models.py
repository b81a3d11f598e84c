"""What the configuration files of published models hold, as far as it decides how a model is read.

`FILES`: read from the files of public repositories on GitHub (the name is owner/repository), keys and values as they
are there; sizes are left out, because the tests build two small layers. Letters of long vocabularies are cut to some of
them where nothing else depends on their number; such a table says so.
"""

from tests.parity.published import CTC, ENGLISH, GROUP, LAYER, PRETRAINING, SLOTS, Published, extractor, listed, names

ARABIC = tuple('"،ءآأؤإئابةتثجحخدذرزسشصضطظعغـفقكلمنهوىيّی')
WELSH = (*"ca\u2018|", *"ñöäujérîslyngeÿzhpòàáw'ëêŵtiv\u2013ôkqŷâïfbd\u2014ûx¬mo")

FILES: dict[str, Published] = {
    # 31 rows: the added <s> and </s> are classes of the head
    "RaggioAI/dondza-xitsonga-asr-wav2vec2": Published(
        LAYER
        | {"architectures": CTC, "pad_token_id": 28, "bos_token_id": 29, "eos_token_id": 30, "vocab_size": 31}
        | {"mask_time_prob": 0.075, "dtype": "float32", "transformers_version": "4.57.2"},
        True,
        ("|", *ENGLISH, "[UNK]", "[PAD]"),
        names(**SLOTS, added_tokens_decoder=listed(unk=27, pad=28, bos=29, eos=30)),
        added={"</s>": 30, "<s>": 29},
    ),
    # the same table with 29 rows: they lie beyond the head
    "Kavuma-Jimmy/Luganda-Speech-to-text-Desktop-Version_1": Published(
        LAYER
        | {"architectures": CTC, "pad_token_id": 28, "bos_token_id": 1, "eos_token_id": 2, "vocab_size": 29}
        | {"mask_time_prob": 0.4, "_name_or_path": "model", "transformers_version": "4.42.0.dev0"},
        True,
        ("|", *ENGLISH, "[UNK]", "[PAD]"),
        names(**SLOTS, added_tokens_decoder=listed(unk=27, pad=28, bos=29, eos=30)),
        added={"</s>": 30, "<s>": 29},
    ),
    # Devanagari with combining signs; some of its 57 letters
    "Tanisha-anshu/wav2vec2": Published(
        LAYER
        | {"architectures": CTC, "pad_token_id": 12, "vocab_size": 15, "mask_time_selection": "static"}
        | {"mask_time_prob": 0.05, "_name_or_path": "facebook/wav2vec2-large-xlsr-53"},
        True,
        ("ड", "ी", "म", "़", "आ", "ृ", "र", "फ", "/", "|", "ड़", "[UNK]", "[PAD]"),
        names(**SLOTS, clean_up_tokenization_spaces=True, added_tokens_decoder=listed(unk=11, pad=12, bos=13, eos=14)),
        added={"</s>": 14, "<s>": 13},
    ),
    # the blank is third, in the middle of the signs; some of its 105 letters
    "simyoungjun/wav2vec2-common_voice-tr-demo": Published(
        LAYER
        | {"architectures": CTC, "pad_token_id": 2, "vocab_size": 41, "transformers_version": "4.29.0.dev0"}
        | {"layerdrop": 0.0, "_name_or_path": "./wav2vec2-common_voice-tr-demo/checkpoint-3600"},
        True,
        ("'", "-", "[PAD]", "[UNK]", *ENGLISH, "|", *"âçğışกขค"),
        names(replace_word_delimiter_char=" ", clean_up_tokenization_spaces=True),
        added={"</s>": 40, "<s>": 39},
    ),
    # additional_special_tokens repeats <s> and </s>, once for each time it was saved
    "maherghanem86/arabic_speech_to_text": Published(
        LAYER
        | {"architectures": CTC, "pad_token_id": 43, "vocab_size": 46, "transformers_version": "4.16.2"}
        | {"_name_or_path": "facebook/wav2vec2-xls-r-300m"},
        True,
        ("|", *ARABIC, "[UNK]", "[PAD]"),
        names(special_tokens_map_file=None, tokenizer_file=None, name_or_path="/workspace/output"),
        {
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "additional_special_tokens": [{"content": "<s>", "lstrip": False}, {"content": "</s>"}] * 3,
        },
        {"<s>": 44, "</s>": 45},
    ),
    # BASE, fine-tuned with normalised input
    "parsavares/Luxembourgish-STT-TTS-DOC": Published(
        GROUP
        | {"architectures": CTC, "pad_token_id": 0, "vocab_size": 41, "transformers_version": "4.19.2"}
        | {"freeze_feat_extract_train": True, "no_mask_time_overlap": False, "mask_channel_selection": "static"},
        True,
        ("<pad>", "<s>", "</s>", "<unk>", "|", *"enrtasidlohumcgwéfkpzbvëäj'yxqüèàöôê"),
        names("<pad>", "<unk>", replace_word_delimiter_char=" ", processor_class="Wav2Vec2Processor"),
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        preprocessor=extractor(True, False) | {"padding_value": 0, "processor_class": "Wav2Vec2Processor"},
    ),
    # LARGE on LibriSpeech, saved again; no tokenizer files in the folder, and keys of an older version
    "huyendt1610/speech-to-text": Published(
        GROUP
        | {"architectures": CTC, "pad_token_id": 0, "vocab_size": 32, "transformers_version": "4.57.6"}
        | {"hidden_dropout_prob": 0.1, "feat_extract_dropout": 0.0, "activation_dropout": 0.1, "final_dropout": 0.1},
        False,
    ),
    # a copy of facebook/wav2vec2-lv-60-espeak-cv-ft
    "mrjkorea/pronounce": Published(
        LAYER
        | {"architectures": CTC, "pad_token_id": 0, "vocab_size": 392, "transformers_version": "4.49.0"}
        | {"_attn_implementation_autoset": True, "_name_or_path": "facebook/wav2vec2-lv-60-espeak-cv-ft"},
        True,
    ),
    # LV-60k's extractor in a BASE, pre-trained with Flax
    "somosnlp/wav2vec2-spanish": Published(
        LAYER
        | {"conv_bias": False, "architectures": PRETRAINING, "pad_token_id": 0, "vocab_size": 32}
        | {"gradient_checkpointing": True, "transformers_version": "4.9.0.dev0", "freeze_feat_extract_train": True},
        True,
        preprocessor=extractor(True, True),
    ),
    # transformers 5: the extractor's settings are in the processor's file only
    "melissatriana/speech-emotion-recognition": Published(
        GROUP
        | {"architectures": ["Wav2Vec2ForSequenceClassification"], "pad_token_id": 0, "transformers_version": "5.12.1"}
        | {"classifier_proj_size": 256, "use_weighted_layer_sum": False, "id2label": {"0": "neutral", "1": "happy"}},
        True,
        processor={"feature_extractor": extractor(True, False), "processor_class": "Wav2Vec2Processor"},
    ),
    # no do_normalize: transformers' default is to normalise, whatever the family
    "saadf3819/EchoTherapy": Published(
        GROUP
        | {"architectures": ["Wav2Vec2ForSequenceClassification"], "pad_token_id": 0, "transformers_version": "5.0.0"}
        | {"use_cache": False, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}},
        True,
        preprocessor={
            "do_feature_extract": True,
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": False,
            "sampling_rate": 16000,
        },
    ),
    # weighted sum of the layers: layer_weights beside projector and classifier
    "HBJ17/Disaster_helpline": Published(
        GROUP
        | {"architectures": ["Wav2Vec2ForSequenceClassification"], "transformers_version": "4.56.2"}
        | {"use_weighted_layer_sum": True, "layerdrop": 0.05, "id2label": {"0": "neu", "1": "hap"}},
        False,
    ),
    # written by hand: no class of the extractor, keys that nobody reads
    "BIGMOUSSA/asr_swahili": Published(
        GROUP | {"architectures": CTC, "pad_token_id": 28, "vocab_size": 29},
        True,
        ("|", *ENGLISH, "[UNK]", "[PAD]"),
        names(),
        processor={
            "processor_type": "Wav2Vec2Processor",
            "model_type": "facebook/wav2vec2-base",
            "feature_extractor": {"sampling_rate": 16000, "do_normalize": True, "return_attention_mask": True},
            "post_processor": {"return_attention_mask": True},
        },
    ),
    # of the next five, vocab.json is from the repository; config.json numbers the blank as fine-tuning scripts do: they
    # set pad_token_id and vocab_size from the tokenizer
    "techiaith/xlsr-fine-tuning-week": Published(
        LAYER | {"architectures": CTC, "pad_token_id": 50, "vocab_size": 51}, True, (*WELSH, "[UNK]", "[PAD]")
    ),
    "lectly/wav2vec2-large-xlsr-53-egyptian-arabic": Published(
        LAYER | {"architectures": CTC, "pad_token_id": 37, "vocab_size": 38},
        True,
        ("|", *"/2ءؤئابةتثجحخدذرزسشصضطظعغفقكلمنهوىي", "[UNK]", "[PAD]"),
    ),
    "khanld/ASR-Wav2vec-Finetune": Published(
        LAYER | {"architectures": CTC, "pad_token_id": 27, "vocab_size": 28},
        True,
        ("|", *"'abcdefghijklmnoprstuvwxy", "[UNK]", "[PAD]"),
    ),
    "padmalcom/wav2vec2-asr-ultimate-german": Published(
        LAYER | {"architectures": CTC, "pad_token_id": 0, "vocab_size": 57},
        True,
        ("<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *ENGLISH),
    ),
    # Cantonese: the first of its 3560 characters, among them one outside the basic plane
    "flynncao/Cantonese-ASR-Wav2vec2-XLRS-transfer-learning-project": Published(
        LAYER | {"architectures": CTC, "pad_token_id": 11, "vocab_size": 12},
        True,
        ("鸠", "鸿", "跌", "坟", "阱", "伸", "必", "姨", "\U00020bb6", "|", "[UNK]", "[PAD]"),
    ),
}
