"""Models on the hub, served by its double, in processes of their own."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.checkpoints.made_up_models import STANDARD, make
from tests.decode.pyctcdecode_facts import ALPHABET, SYMBOLS, beside
from tests.hub_double.server import HubDouble, environment
from tests.small_models import GROUP, LAYER

import wav2vec2
from wav2vec2.checkpoints.hub import is_hub_id
from wav2vec2.errors import FileWarning, UserError
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("hub")
    wav2vec2.save(make("ctc", GROUP), root / "model")
    wav2vec2.save(make("ctc", LAYER), root / "v2")
    shouting = dataclasses.replace(STANDARD, normalization=TextNormalization(case="upper", digits="names"))
    wav2vec2.save(make("ctc", GROUP, shouting), root / "shouting")
    wav2vec2.save(make("pretraining", GROUP), root / "private")
    (root / "model/pytorch_model.bin").write_bytes(b"the other kind of weights")
    (root / "model/adapter.deu.safetensors").write_bytes(b"a language that was not asked for")
    (root / "empty").mkdir()
    (root / "empty/README.md").write_text("nothing")
    wav2vec2.save(make("ctc", GROUP, Vocabulary(SYMBOLS)), root / "spoken")
    beside(root / "spoken")
    wav2vec2.save(make("ctc", GROUP, Vocabulary(SYMBOLS)), root / "alphabet")
    (root / "alphabet/alphabet.json").write_text(json.dumps(ALPHABET))
    with HubDouble() as double:
        for name in ("model", "shouting", "empty", "spoken", "alphabet"):
            double.add(f"owner/{name}", root / name)
        double.add("owner/model", root / "v2", revision="v2")
        double.add("owner/private", root / "private", private=True, token="hf_secret")
        yield double.endpoint


TRANSCRIBER = """
import sys
import wav2vec2
print(wav2vec2.Transcriber(sys.argv[1], device="cpu").vocabulary.normalization)
"""
SCRIPT = """
import json, sys, time
time.sleep = lambda seconds: None  # the hub's library waits between attempts
import wav2vec2
from wav2vec2.errors import UserError
for line in sys.stdin:
    source, options = json.loads(line)
    try:
        model = wav2vec2.load(source, **options)
        print(json.dumps([type(model).__name__, model.architecture.conv_norm]), flush=True)
    except UserError as error:
        print(json.dumps(["UserError", str(error)]), flush=True)
"""


def ask(endpoint: str, cache: Path, *questions: tuple[str, dict]) -> list[list[str]]:
    """In a process of its own: huggingface_hub reads its environment when it is imported."""
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=lines,
        capture_output=True,
        text=True,
        env=environment(endpoint, cache),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_models_of_the_hub(hub: str, tmp_path: Path) -> None:
    first, second, private, denied, missing, revision, empty, own_cache = ask(
        hub,
        tmp_path,
        ("owner/model", {}),
        ("owner/model", {"revision": "v2"}),
        ("owner/private", {"token": "hf_secret"}),
        ("owner/private", {}),
        ("owner/nothing", {}),
        ("owner/model", {"revision": "v9"}),
        ("owner/empty", {}),
        ("owner/model", {"cache": str(tmp_path / "elsewhere")}),
    )
    assert first == ["Wav2Vec2ForCTC", "group"]
    assert second == ["Wav2Vec2ForCTC", "layer"]
    assert private == ["Wav2Vec2ForPretraining", "group"]
    assert own_cache == ["Wav2Vec2ForCTC", "group"]
    assert list((tmp_path / "elsewhere").glob("models--owner--model/snapshots/*/config.json"))
    cached = {path.name for path in (tmp_path / "hub/models--owner--model/snapshots").glob("*/*")}
    assert "model.safetensors" in cached
    assert not cached & {"pytorch_model.bin", "adapter.deu.safetensors"}
    for (kind, message), words in (
        (denied, "owner/private: neither a local path nor a model on the hub, or private"),
        (missing, "owner/nothing: neither a local path nor a model on the hub"),
        (revision, "owner/model: has no revision 'v9'"),
        (empty, "owner/empty: has neither model.safetensors nor pytorch_model.bin on the hub"),
    ):
        assert kind == "UserError"
        assert message.startswith(words)
        assert "\n" not in message

    # afterwards there is no server: the cache answers, or says that it cannot
    offline, lacking, cached, unreachable = ask(
        "http://127.0.0.1:9",
        tmp_path,
        ("owner/model", {"offline": True}),
        ("owner/other", {"offline": True}),
        ("owner/model", {}),
        ("owner/other", {}),
    )
    assert offline == cached == ["Wav2Vec2ForCTC", "group"]
    assert lacking[1].startswith("owner/other: neither a local path nor in the hub's cache")
    assert unreachable[1].startswith("owner/other: not a local path, and fetching it from the hub failed")


SEARCHES = """
import time
time.sleep = lambda seconds: None  # the hub's library waits between attempts
import sys
import wav2vec2
for source, lm in (("owner/spoken", "none"), ("owner/spoken", None), ("owner/alphabet", None)):
    print(wav2vec2.Transcriber(source, device="cpu", lm=lm).search.title)
"""


def test_a_language_model_on_the_hub_is_fetched_when_it_is_used(hub: str, tmp_path: Path) -> None:
    def fetched() -> set[str]:
        return {path.name for path in tmp_path.glob("hub/models--owner--spoken/snapshots/*/language_model/*")}

    def searches(**more: str) -> tuple[list[str], list[str]]:
        done = subprocess.run(
            [sys.executable, "-c", SEARCHES],
            capture_output=True,
            text=True,
            env=environment(hub, tmp_path, **more),
            check=True,
        )
        told = ("compiling", "owner/spoken: fetch")  # how large, from where, how long it took
        lines = [line for line in done.stderr.splitlines() if not line.startswith(told)]
        return done.stdout.splitlines(), lines

    ask(hub, tmp_path, ("owner/spoken", {}), ("owner/alphabet", {}))
    assert fetched() == set()
    titles, lines = searches(HF_HUB_OFFLINE="1")
    assert titles == ["no LM", "no LM", "no LM"]
    unused = "the language model beside the model is not used: owner/{}: its language_model/* is not in the hub's cache"
    unused += ", and HF_HUB_OFFLINE is set"
    assert [line.partition(";")[0] for line in lines] == [unused.format("spoken"), unused.format("alphabet")]
    titles, lines = searches()
    assert titles == ["no LM", "2-gram", "no LM"]  # of the last, the hub has an alphabet without a language model
    (line,) = lines
    assert line.endswith("/language_model/lm.arpa: used, because it lies beside the model; --lm none turns it off")
    assert fetched() == {"lm.arpa", "attrs.json", "unigrams.txt"}
    assert searches(HF_HUB_OFFLINE="1")[0] == ["no LM", "2-gram", "no LM"]  # from the cache


def test_a_transcriber_knows_the_text_normalisation_of_a_hub_model(hub: str, tmp_path: Path) -> None:
    """The rules lie in a file beside the weights, wherever the hub's cache keeps them."""
    done = subprocess.run(
        [sys.executable, "-c", TRANSCRIBER, "owner/shouting"],
        capture_output=True,
        text=True,
        env=environment(hub, tmp_path),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(TextNormalization(case="upper", digits="names"))


def test_ids_are_recognised() -> None:
    assert is_hub_id("facebook/wav2vec2-base-960h")
    for other in ("model", "a/b/c", "/a/b", "../a", "./a", "runs/model.pt", "a/", "https://a/b"):
        assert not is_hub_id(other), other


def test_a_path_below_an_existing_folder_is_not_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("runs/model")
    (tmp_path / "runs").mkdir()
    assert not is_hub_id("runs/model")


def test_the_folder_of_a_run_stands_for_its_model(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.toml", "log.jsonl"):
        (run / name).touch()
    with pytest.raises(UserError, match=f"{run}: this training run has no model yet"):
        wav2vec2.load(run)
    best, last = make("encoder", GROUP), make("encoder", LAYER)
    wav2vec2.save(best, run / "best")
    with pytest.warns(FileWarning, match=f"{run}: this run has not ended; its best weights so far are used"):
        assert wav2vec2.load(run).architecture == best.architecture
    wav2vec2.save(last, run / "model")
    assert wav2vec2.load(run).architecture == last.architecture


def test_a_folder_wins_over_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wav2vec2.save(make("encoder", GROUP), Path("owner/model"))
    assert torch.equal(*(wav2vec2.load("owner/model").encode(torch.ones(1, 800))[0] for _ in range(2)))
