"""Models on the hub, served by a small local server with the hub's paths."""

import dataclasses
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.checkpoints.made_up_models import STANDARD, make
from tests.decode.pyctcdecode_facts import ALPHABET, SYMBOLS, beside
from tests.small_models import GROUP, LAYER

import wav2vec2
from wav2vec2.checkpoints.hub import is_hub_id
from wav2vec2.errors import FileWarning, UserError
from wav2vec2.text.normalize import TextNormalization
from wav2vec2.text.vocabulary import Vocabulary

COMMITS = {"main": "a" * 40, "v2": "b" * 40}


def _files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


class _Hub(http.server.BaseHTTPRequestHandler):
    """What the hub answers: a revision and its files (two ways), the head of a file, the file."""

    root: Path
    asked: list[str]

    def _answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        type(self).asked.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        revision = (parts[5] if len(parts) > 5 else "main") if parts[0] == "api" else parts[3]
        if name == "owner/private" and self.headers.get("Authorization") != "Bearer hf_secret":
            return self._answer(b"{}", 401, X_Error_Code="RepoNotFound")
        if name == "owner/broken":
            return self._answer(b"{}", 500)
        revision = next((known for known, commit in COMMITS.items() if revision in (known, commit)), revision)
        folder = self.root / name / revision
        if not folder.parent.exists():
            return self._answer(b"{}", 404, X_Error_Code="RepoNotFound")
        if not folder.exists():
            return self._answer(b"{}", 404, X_Error_Code="RevisionNotFound")
        if parts[0] == "api" and parts[4:5] == ["tree"]:
            tree = [
                {"type": "file", "path": name, "size": (folder / name).stat().st_size, "oid": "0" * 40}
                for name in _files(folder)
            ]
            return self._answer(json.dumps(tree).encode(), Content_Type="application/json")
        if parts[0] == "api":
            files = [{"rfilename": name} for name in _files(folder)]
            body = {"id": name, "sha": COMMITS[revision], "siblings": files, "private": False, "tags": []}
            return self._answer(json.dumps(body).encode(), Content_Type="application/json")
        file = folder.joinpath(*parts[4:])
        if not file.exists():
            return self._answer(b"", 404, X_Error_Code="EntryNotFound")
        data = file.read_bytes()
        tag = hashlib.sha256(data).hexdigest()
        return self._answer(data, ETag=f'"{tag}"', X_Repo_Commit=COMMITS[revision])

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("hub")
    wav2vec2.save(make("ctc", GROUP), root / "owner/model/main")
    wav2vec2.save(make("ctc", LAYER), root / "owner/model/v2")
    shouting = dataclasses.replace(STANDARD, normalization=TextNormalization(case="upper", digits="names"))
    wav2vec2.save(make("ctc", GROUP, shouting), root / "owner/shouting/main")
    wav2vec2.save(make("pretraining", GROUP), root / "owner/private/main")
    (root / "owner/model/main/pytorch_model.bin").write_bytes(b"the other kind of weights")
    (root / "owner/model/main/adapter.deu.safetensors").write_bytes(b"a language that was not asked for")
    (root / "owner/empty/main").mkdir(parents=True)
    (root / "owner/empty/main/README.md").write_text("nothing")
    wav2vec2.save(make("ctc", GROUP, Vocabulary(SYMBOLS)), root / "owner/spoken/main")
    beside(root / "owner/spoken/main")
    wav2vec2.save(make("ctc", GROUP, Vocabulary(SYMBOLS)), root / "owner/alphabet/main")
    (root / "owner/alphabet/main/alphabet.json").write_text(json.dumps(ALPHABET))
    handler = type("Handler", (_Hub,), {"root": root, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


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


def _environment(endpoint: str, cache: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }


def ask(endpoint: str, cache: Path, *questions: tuple[str, dict]) -> list[list[str]]:
    """In a process of its own: huggingface_hub reads its environment when it is imported."""
    environment = _environment(endpoint, cache)
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=lines, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_models_of_the_hub(hub: str, tmp_path: Path) -> None:
    first, second, private, denied, missing, revision, empty, broken, own_cache = ask(
        hub,
        tmp_path,
        ("owner/model", {}),
        ("owner/model", {"revision": "v2"}),
        ("owner/private", {"token": "hf_secret"}),
        ("owner/private", {}),
        ("owner/nothing", {}),
        ("owner/model", {"revision": "v9"}),
        ("owner/empty", {}),
        ("owner/broken", {}),
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
        (broken, "owner/broken: the hub answered with status 500"),
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

    def searches(**environment: str) -> tuple[list[str], list[str]]:
        done = subprocess.run(
            [sys.executable, "-c", SEARCHES],
            capture_output=True,
            text=True,
            env=_environment(hub, tmp_path) | environment,
            check=True,
        )
        lines = [line for line in done.stderr.splitlines() if not line.startswith("compiling")]
        return done.stdout.splitlines(), lines

    ask(hub, tmp_path, ("owner/spoken", {}), ("owner/alphabet", {}))
    assert fetched() == set()
    titles, lines = searches(HF_HUB_OFFLINE="1")
    assert titles == ["no LM", "no LM", "no LM"]
    unused = "the language model beside the model is not used: owner/{}: its language_model/* is not in the hub's cache"
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
        env=_environment(hub, tmp_path),
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
