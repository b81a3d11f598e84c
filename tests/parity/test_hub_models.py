"""Directories of published models, with random weights in two small layers: ours beside transformers' own pipeline.

The files are written as the repositories hold them (read: `tests/parity/hub_models.py`; remembered:
`tests/parity/remembered_models.py`). transformers builds and saves the weights, makes the input, and writes the text.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tests.parity.closeness import FLOAT32, assert_close
from tests.parity.hub_models import FILES
from tests.parity.published import Json, Published
from tests.parity.remembered_models import MEMORY

import wav2vec2
from wav2vec2.audio.normalize import TRANSFORMERS_EPSILON
from wav2vec2.audio.recordings import open_recording
from wav2vec2.checkpoints.load import describe
from wav2vec2.cli import main
from wav2vec2.errors import UserError
from wav2vec2.inference.acoustic_model import AcousticModel, AcousticOutput
from wav2vec2.model.encoder import Wav2Vec2Encoder
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining
from wav2vec2.text.vocabulary import Vocabulary
from wav2vec2.train.finetune.config import FinetuneConfig
from wav2vec2.train.finetune.start import build_model

transformers = pytest.importorskip("transformers")

SMALL: Json = {
    "conv_dim": [16] * 7,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "num_codevectors_per_group": 8,
    "codevector_dim": 8,
    "proj_codevector_dim": 8,
    "classifier_proj_size": 8,
}
MODELS = {**FILES, **MEMORY}
RECOGNISERS = [name for name, model in MODELS.items() if "Wav2Vec2ForCTC" in (model.config.get("architectures") or [])]
HEADS = [
    name
    for name, model in MODELS.items()
    if str((model.config.get("architectures") or [""])[0]).endswith(("Classification", "XVector"))
]


class OwnHead(torch.nn.Module):
    """A class that only its authors have: an encoder, and a head of two layers (audeering's model card)."""

    def __init__(self, config: "transformers.Wav2Vec2Config") -> None:
        super().__init__()
        self.wav2vec2 = transformers.Wav2Vec2Model(config)
        self.classifier = torch.nn.ModuleDict({name: torch.nn.Linear(24, 3) for name in ("dense", "out_proj")})


def written(name: str, directory: Path) -> torch.nn.Module:
    """Write the directory of a model, and return the model of transformers whose weights it has."""
    published = MODELS[name]
    content = {"model_type": "wav2vec2", **published.config, **SMALL}
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(**{key: value for key, value in content.items() if key != "architectures"})
    cls = (
        "Wav2Vec2ForCTC"
        if "recogniser" in name
        else (published.config.get("architectures") or ["Wav2Vec2ForPreTraining"])[0]
    )
    theirs = getattr(transformers, cls, OwnHead)(config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
        if hasattr(theirs, "lm_head"):
            _talkative(theirs, published)
    directory.mkdir()
    from safetensors.torch import save_model

    save_model(theirs, str(directory / "model.safetensors"), metadata={"format": "pt"})
    files = {
        "config.json": content,
        "vocab.json": {symbol: index for index, symbol in enumerate(published.vocab)},
        "tokenizer_config.json": published.tokenizer,
        "special_tokens_map.json": published.special,
        "added_tokens.json": published.added,
        "preprocessor_config.json": published.preprocessor,
        "processor_config.json": published.processor,
    }
    for file, values in files.items():
        if values:
            (directory / file).write_text(json.dumps(values), encoding="utf-8")
    return theirs.eval()


def _talkative(theirs: torch.nn.Module, published: Published) -> None:
    """Every symbol but the special ones wins somewhere, the blank and the separator often."""
    head = theirs.lm_head
    head.weight *= 40
    inputs = torch.from_numpy(speech())[None]
    head.bias -= theirs.eval()(inputs).logits.mean((0, 1))
    for index in range(len(head.bias)):
        symbol = published.vocab[index] if index < len(published.vocab) else "<added>"
        if symbol[0] in "<[" and symbol.lower() not in ("<pad>", "[pad]"):
            head.bias[index] = -1e4
        elif symbol.lower() in ("<pad>", "[pad]", "|"):
            head.bias[index] += 2.0


def speech(loudness: float = 1.0) -> np.ndarray:
    waves = np.random.default_rng(0).normal(0, 1, 32_000) * (1 + np.sin(np.arange(32_000) / 1500))
    return (loudness * 0.1 * waves).astype(np.float32)


def their_input(name: str, directory: Path) -> "transformers.Wav2Vec2FeatureExtractor":
    published = MODELS[name]
    if published.preprocessor or "feature_extractor_type" in published.processor.get("feature_extractor", {}):
        return transformers.AutoFeatureExtractor.from_pretrained(directory)
    if published.processor:  # too bare for transformers' automatic class
        return transformers.Wav2Vec2FeatureExtractor(**published.processor["feature_extractor"])
    return transformers.Wav2Vec2FeatureExtractor(do_normalize=published.normalized)


@pytest.mark.parametrize("loudness", [1.0, 0.06])  # 0.06: -44 dBFS
@pytest.mark.parametrize("name", RECOGNISERS)
def test_text_and_log_probabilities_are_those_of_the_pipeline(name: str, loudness: float, tmp_path: Path) -> None:
    theirs, published = written(name, tmp_path / "model"), MODELS[name]
    extractor, samples = their_input(name, tmp_path / "model"), speech(loudness)
    with torch.no_grad():
        values = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values
        expected = theirs(values).logits[0].log_softmax(-1)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    if not published.vocab:
        model = wav2vec2.load(tmp_path / "model")
        assert model.architecture.normalize_input == published.normalized
        assert_close(model(values)[0][0].log_softmax(-1), expected, 10 * FLOAT32, name)
        return
    recogniser = AcousticModel(tmp_path / "model")
    (pool,) = recogniser.pools([open_recording(tmp_path / "a.wav")], log_probs=True)
    (output,) = pool
    assert isinstance(output, AcousticOutput)
    # the head is 40 times as steep as usual, and so are differences of rounding
    assert_close(torch.from_numpy(output.log_probs), expected, 10 * FLOAT32, name)
    blank = {} if published.tokenizer or published.special or "<pad>" in published.vocab else {"pad_token": "[PAD]"}
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model", **blank)
    asr = transformers.pipeline(
        "automatic-speech-recognition", model=theirs, tokenizer=tokenizer, feature_extractor=extractor
    )
    text = asr({"raw": samples, "sampling_rate": 16_000})["text"]
    assert len(set(text)) > 5
    assert wav2vec2.Transcriber(recogniser)(tmp_path / "a.wav").text == " ".join(text.split())


@pytest.mark.parametrize("name", MODELS)
def test_what_the_files_say(name: str, tmp_path: Path) -> None:
    published = MODELS[name]
    theirs = written(name, tmp_path / "model")
    found = describe(tmp_path / "model")
    a = found.architecture
    assert (a.normalize_input, a.input_epsilon) == (published.normalized, TRANSFORMERS_EPSILON)
    assert a.conv_norm == published.config.get("feat_extract_norm", "group")
    if found.kind == "ctc" and published.vocab:
        assert found.vocabulary is not None
        assert len(found.vocabulary) == theirs.lm_head.out_features == published.config["vocab_size"]
        assert found.vocabulary.blank == published.config["pad_token_id"]
        assert found.vocabulary.symbols[found.vocabulary.unknown] in ("[UNK]", "<unk>")
    again = wav2vec2.load(tmp_path / "model")
    wav2vec2.save(again, tmp_path / "again")
    kept = describe(tmp_path / "again")
    assert (kept.architecture, kept.vocabulary, kept.kind) == (a, found.vocabulary, found.kind)


@pytest.mark.parametrize("name", HEADS)
def test_the_encoder_of_another_head_serves_and_transcription_says_why_not(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = written(name, tmp_path / "model")
    model = wav2vec2.load(tmp_path / "model")
    assert isinstance(model, Wav2Vec2Encoder)
    values = torch.from_numpy(speech())[None]
    with torch.no_grad():
        expected = theirs.wav2vec2(values).last_hidden_state
        assert_close(model.encode(values)[0], expected, FLOAT32, name)
    soundfile.write(tmp_path / "a.wav", speech(), 16_000, subtype="FLOAT")
    directory, audio = str(tmp_path / "model"), str(tmp_path / "a.wav")
    assert main(["features", directory, audio, "--out", str(tmp_path / "features")]) == 0
    assert main(["info", directory]) == 0
    architecture = MODELS[name].config["architectures"][0]
    assert f"({architecture}); not read" in capsys.readouterr().out
    recogniser, lines = build_model(FinetuneConfig(init=directory), Vocabulary.from_transcripts(["A B"]))
    assert lines[0] == f"model: custom from {directory}"
    assert torch.equal(recogniser.eval().encode(values)[0], model.encode(values)[0])
    capsys.readouterr()
    assert main(["transcribe", "--model", directory, audio]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"({architecture}), which cannot write text; fine-tune its encoder (wav2vec2 finetune --init)" in line


def test_tensors_tell_what_the_configuration_does_not(tmp_path: Path) -> None:
    written("a recogniser that does not say so", tmp_path / "one")
    assert describe(tmp_path / "one").kind == "ctc"
    written("a pre-trained model that does not say so", tmp_path / "two")
    assert isinstance(wav2vec2.load(tmp_path / "two"), Wav2Vec2ForPretraining)
    # and of a wrong class: the head is there
    written("facebook/wav2vec2-base-960h", tmp_path / "three")
    config = json.loads((tmp_path / "three/config.json").read_text())
    (tmp_path / "three/config.json").write_text(json.dumps(config | {"architectures": ["Wav2Vec2Model"]}))
    assert wav2vec2.load(tmp_path / "three").vocabulary is not None


def test_a_file_without_a_mask_embedding_loads(tmp_path: Path) -> None:
    """base-960h on the hub: mask_time_prob is 0.05, and transformers warns of a new masked_spec_embed."""
    from safetensors.torch import load_file, save_file

    written("facebook/wav2vec2-base-960h", tmp_path / "model")
    tensors = load_file(tmp_path / "model/model.safetensors")
    del tensors["wav2vec2.masked_spec_embed"]
    save_file(tensors, tmp_path / "model/model.safetensors")
    assert not wav2vec2.load(tmp_path / "model").encoder.mask_embedding.any()


def write_table(directory: Path, table: Json, config: Json, **files: Json) -> Path:
    directory.mkdir()
    (directory / "vocab.json").write_text(json.dumps(table))
    (directory / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (directory / f"{name}.json").write_text(json.dumps(content))
    return directory


def test_two_symbols_with_one_id_leave_a_hole(tmp_path: Path) -> None:
    """The fine-tuning tutorial renames " " to "|"; who forgets to delete " " gets ids 0, 0, 1, 2, 4."""
    table = {" ": 0, "|": 0, "a": 1, "b": 2, "[UNK]": 4, "[PAD]": 5}
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    directory = write_table(tmp_path / "m", table, {"pad_token_id": 5, "vocab_size": 6}, tokenizer_config=names)
    vocabulary = Vocabulary.load(directory)
    assert vocabulary.symbols == ("|", "a", "b", "<3>", "[UNK]", "[PAD]")
    theirs = transformers.Wav2Vec2CTCTokenizer.from_pretrained(directory)
    assert vocabulary.decode([1, 0, 2, 1]) == theirs.decode([1, 0, 2, 1]) == "a ba"
    table["b"] = 3  # a hole that no pair explains
    directory = write_table(tmp_path / "n", {**table, " ": 7}, {"vocab_size": 6}, tokenizer_config=names)
    with pytest.raises(UserError, match="each once"):
        Vocabulary.load(directory)


def test_special_tokens_that_no_file_numbers_are_the_last_classes(tmp_path: Path) -> None:
    table = {"|": 0, "a": 1, "[UNK]": 2, "[PAD]": 3}
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    directory = write_table(tmp_path / "m", table, {"vocab_size": 6}, tokenizer_config=names)
    theirs = transformers.Wav2Vec2CTCTokenizer.from_pretrained(directory)
    assert {symbol: index for index, symbol in enumerate(Vocabulary.load(directory).symbols)} == theirs.get_vocab()


def test_letters_beyond_the_head_are_another_models(tmp_path: Path) -> None:
    written("facebook/wav2vec2-base-960h", tmp_path / "model")
    table = {symbol: index for index, symbol in enumerate((*MEMORY["facebook/wav2vec2-base-960h"].vocab, "Ä"))}
    (tmp_path / "model/vocab.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match="has 33 symbols, the model's head has 32 rows"):
        describe(tmp_path / "model")


def test_a_letter_is_no_blank_where_the_tokenizer_names_a_missing_one(tmp_path: Path) -> None:
    table = {"a": 0, "b": 1, "|": 2, "[PAD]": 3}
    names = {"pad_token": "<pad>"}
    directory = write_table(tmp_path / "m", table, {"pad_token_id": 0, "vocab_size": 4}, tokenizer_config=names)
    with pytest.raises(UserError, match="lacks '<pad>', the CTC blank"):
        Vocabulary.load(directory)
    directory = write_table(tmp_path / "n", table, {"pad_token_id": 3, "vocab_size": 4}, tokenizer_config=names)
    assert Vocabulary.load(directory).blank == 3


def test_a_processor_file_of_another_model_does_not_stay(tmp_path: Path) -> None:
    written("melissatriana/speech-emotion-recognition", tmp_path / "model")
    model = wav2vec2.load(tmp_path / "model")
    model.architecture = replace(model.architecture, normalize_input=False)
    wav2vec2.save(model, tmp_path / "model")
    assert not transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "model").do_normalize
    assert not describe(tmp_path / "model").architecture.normalize_input
