import gzip
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.lm.transformer.tiny_lm import network
from tests.train.tiny_run import language_model_config, write_text

from wav2vec2 import cli
from wav2vec2.config import load_recipe
from wav2vec2.data.sampler import Position
from wav2vec2.errors import UserError
from wav2vec2.lm.transformer.model import TransformerLM
from wav2vec2.train.language_model.command import (
    LanguageModelConfig,
    TextData,
    TokensConfig,
    read_text,
    run,
)
from wav2vec2.train.language_model.objective import LanguageModelObjective
from wav2vec2.train.language_model.token_batches import (
    Sentences,
    TokenBatch,
    TokenLoader,
    encode_sentences,
    fixed_token_batches,
    held_out_lines,
    pad_sentences,
)

CLOCK = ("time", "tokens_per_second", "wait_share", "save_seconds")
RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text") / "text.txt")


def records(of: LanguageModelConfig) -> list[dict[str, object]]:
    lines = (Path(of.output) / "log.jsonl").read_text().splitlines()
    kept = [{k: v for k, v in json.loads(line).items() if k not in CLOCK} for line in lines]
    return [record for record in kept if record["kind"] != "stop"]


def test_it_learns_and_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(text: Path, tmp_path: Path) -> None:
    whole = language_model_config(text, tmp_path / "whole")
    assert run(whole) == tmp_path / "whole" / "model"
    parts = replace(whole, output=str(tmp_path / "parts"))
    for _ in range(3):
        run(replace(parts, train=replace(parts.train, max_minutes=1e-7)))
    run(parts)
    assert records(whole) == records(parts)
    for name in ("best", "model"):
        assert len({(Path(c.output) / name / "model.safetensors").read_bytes() for c in (whole, parts)}) == 1
    training = [record for record in records(whole) if record["kind"] == "train"]
    assert {"loss", "perplexity", "padding", "epoch", "gradient_norm"} <= training[0].keys()
    validations = [record for record in records(whole) if record["kind"] == "validation"]
    assert float(validations[-1]["loss"]) < 0.7 * math.log(9)  # type: ignore[arg-type]
    lm = TransformerLM.load(tmp_path / "whole" / "model")
    assert lm.tokens[:2] == ("</s>", "<unk>")
    assert set(lm.tokens[2:]) == {"ANNA", "BEN", "CARA", "DAN", "EVE", "SEES", "AND", "GOES"}


def test_another_text_or_recipe_is_refused_on_resuming(text: Path, tmp_path: Path) -> None:
    of = language_model_config(text, tmp_path / "run")
    run(replace(of, train=replace(of.train, max_minutes=1e-7)))
    with pytest.raises(UserError, match=r"batch\.tokens = 120, now it is 130"):
        run(replace(of, batch=replace(of.batch, tokens=130)))
    other = tmp_path / "other.txt"
    other.write_text(text.read_text().replace("DAN DAN", "DAN EVE"))
    with pytest.raises(UserError, match="was started on other data"):
        run(replace(of, data=replace(of.data, text=(str(other),))))


def corpus(text: Path) -> Sentences:
    return read_text(TextData(text=(str(text),), ids=True), TokensConfig()).training


def test_k_micro_batches_are_one_batch(text: Path) -> None:
    read = read_text(TextData(text=(str(text),), ids=True), TokensConfig())

    def gradients(micro_tokens: int) -> tuple[int, list[torch.Tensor]]:
        loader = TokenLoader(read.training, batch_tokens=200, micro_tokens=micro_tokens, max_tokens=8, seed=3)
        batches = next(iter(loader.updates(Position()))).micro_batches
        model = network(len(read.vocabulary), drop=0.2).double().train()
        of = LanguageModelObjective(model, read.vocabulary, seed=1)
        counts = of.counts(batches, 5)
        for number, batch in enumerate(batches):
            loss, _ = of.loss(model, batch, number, counts, 5)
            assert loss is not None
            loss.backward()
        return len(batches), [p.grad for p in model.parameters() if p.grad is not None]

    (few, whole), (many, parts) = gradients(10_000), gradients(20)
    assert (few, many > 5) == (1, True)
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(whole, parts, strict=True))


def test_two_ranks_read_what_one_reads(text: Path) -> None:
    sentences = corpus(text)

    def rows(batches: list[TokenBatch]) -> dict[int, list[int]]:
        return {
            int(row): tokens[: int(n) + 1].tolist()
            for b in batches
            for row, tokens, n in zip(b.rows, b.tokens, b.lengths, strict=True)
        }

    def loader(rank: int, world: int) -> TokenLoader:
        return TokenLoader(sentences, batch_tokens=90, micro_tokens=30, max_tokens=6, seed=3, rank=rank, world=world)

    streams = [loader(rank, world).updates(Position()) for rank, world in ((0, 1), (0, 2), (1, 2))]
    for _ in range(20):
        alone, *both = (next(stream) for stream in streams)
        assert rows(list(alone.micro_batches)) == rows([b for one in both for b in one.micro_batches])
        assert len(both[0].micro_batches) == len(both[1].micro_batches)
        assert max(b.padded_amount for one in both for b in one.micro_batches) <= 30
    again = next(loader(0, 1).updates(alone.following))
    assert rows(list(again.micro_batches)) == rows(list(next(streams[0]).micro_batches))
    fixed = [b for rank in (0, 1) for b in fixed_token_batches(sentences, 50, rank=rank, world=2)]
    assert sum(int(b.amount) for b in fixed) == int(sentences.predicted.sum())


def test_text_is_read_as_told(text: Path, tmp_path: Path) -> None:
    packed = tmp_path / "text.txt.gz"
    packed.write_bytes(gzip.compress(text.read_bytes()))
    assert (
        read_text(TextData((str(packed),), ids=True), TokensConfig()).training.fingerprint == corpus(text).fingerprint
    )
    data = TextData(text=(str(text),), ids=True, hold_out=30)
    words = read_text(data, TokensConfig(case="lower", min_count=110))
    assert set(words.vocabulary.tokens[2:]) == {"and"}
    characters = read_text(data, TokensConfig(unit="characters"))
    assert "|" in characters.vocabulary.tokens
    assert characters.vocabulary.encode(["BEN", "BEN"]) == [characters.vocabulary.numbers[c] for c in "BEN|BEN"]
    assert characters.validation is not None
    assert (len(characters.training), len(characters.validation)) == (90, 30)
    chosen = tmp_path / "words.txt"
    chosen.write_text("ANNA\nGOES\nRARE\n")
    listed = read_text(data, TokensConfig(vocabulary=str(chosen)))
    assert set(listed.vocabulary.tokens[2:]) == {"ANNA", "GOES", "RARE"}
    assert listed.vocabulary.encode(["ANNA", "SEES"]) == [listed.vocabulary.numbers["ANNA"], 1]


def test_held_out_lines_depend_on_their_text_alone() -> None:
    lines = [["line", str(n)] for n in range(50)]
    chosen = {lines[n][1] for n in held_out_lines(lines, 7)}
    assert chosen == {lines[::-1][n][1] for n in held_out_lines(lines[::-1], 7)}
    assert len(chosen) == 7
    assert encode_sentences([[5], [6, 7]], 0).tokens.tolist() == [0, 5, 0, 0, 6, 7, 0]


def test_a_long_sentence_is_cropped_and_an_update_too_small_is_refused(text: Path) -> None:
    sentences = corpus(text)
    loader = TokenLoader(sentences, batch_tokens=20, micro_tokens=20, max_tokens=4, seed=1)
    stream = loader.updates(Position())
    starts = {b.tokens[0, 0].item() for _ in range(40) for b in next(stream).micro_batches}
    assert starts > {0}
    with pytest.raises(UserError, match=r"batch\.tokens \(3\)"):
        TokenLoader(sentences, batch_tokens=3, micro_tokens=3, max_tokens=4, seed=1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such text file"),
        (b"", "no words found"),
        (b"id1\nid2\n", "no words found"),
        (b"a \xff\n", "not UTF-8"),
    ],
)
def test_bad_text_is_one_line_and_status_2(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    arguments = ["lm", "transformer", "--data.text", str(path), "--data.ids", "--output", str(tmp_path / "run")]
    assert cli.main([*arguments, "--train.device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert str(path) in error
    assert error.count("\n") == 1


def test_more_bad_input_is_one_line(text: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(text.read_bytes())[:-30])
    data = TextData(text=(str(text),), ids=True)
    for wrong, said in (
        (replace(data, text=(str(cut),)), "cut short"),
        (replace(data, text=()), "data.text is not set"),
        (replace(data, hold_out=120), "hold out fewer"),
        (replace(data, validation=(str(tmp_path / "none"),)), "no such text file"),
    ):
        with pytest.raises(UserError, match=said):
            read_text(wrong, TokensConfig())
    with pytest.raises(UserError, match=r"min_count"):
        read_text(data, TokensConfig(min_count=1000))
    of = language_model_config(text, tmp_path / "run")
    with pytest.raises(UserError, match="scale_lr"):
        run(replace(of, train=replace(of.train, scale_lr=True)))


@pytest.mark.parametrize("name", ["lm_transformer_paper", "lm_word_small", "lm_char_small"])
def test_recipes_are_valid(name: str) -> None:
    assert load_recipe(RECIPES / f"{name}.toml", LanguageModelConfig).train.updates > 0


def test_amounts_are_predicted_tokens_without_and_with_padding() -> None:
    batch = pad_sentences([np.array([0, 5, 0]), np.array([0, 6, 7, 8, 0])], [0, 1])
    assert (int(batch.amount), batch.padded_amount) == (2 + 4, 2 * 4)
    nothing = pad_sentences([], [])
    assert (int(nothing.amount), nothing.padded_amount) == (0, 0)


def test_one_sentence_at_least_is_left_to_train_on() -> None:
    lines = [["a"], ["b"]]
    assert len(held_out_lines(lines, 1)) == 1
    with pytest.raises(UserError, match="2 of 2 sentences; hold out fewer"):
        held_out_lines(lines, 2)
    with pytest.raises(UserError, match="0 of 0 sentences"):
        held_out_lines([], 0)
