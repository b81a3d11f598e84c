"""Downloading from the hub's double through the hub's own library: layouts, resuming, checksums, cache, languages."""

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from tests.hub_double import repositories
from tests.hub_double.in_process import turn_to
from tests.hub_double.server import HubDouble, environment

import wav2vec2
from wav2vec2.checkpoints.checkpoint import Model
from wav2vec2.checkpoints.default_model import DEFAULT_MODEL, MULTILINGUAL_MODEL, chosen_model
from wav2vec2.checkpoints.languages import near_languages
from wav2vec2.errors import UserError
from wav2vec2.model.ctc import Wav2Vec2ForCTC
from wav2vec2.model.pretraining import Wav2Vec2ForPretraining

ENCODER, OMNILINGUAL = "facebook/wav2vec2-xls-r-300m", "facebook/omniASR-CTC-300M"
WEIGHTS = "pytorch_model.bin"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("published")
    return {
        DEFAULT_MODEL: repositories.base_960h(root / "base"),
        ENCODER: repositories.xls_r_300m(root / "xls_r"),
        MULTILINGUAL_MODEL: repositories.mms_1b_all(root / "mms"),
        OMNILINGUAL: repositories.omnilingual_ctc(root / "omnilingual"),
    }


@pytest.fixture
def hub(published: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """The double with the four models; the cache is ``tmp_path/cache``, and this folder is where the test runs."""
    monkeypatch.chdir(tmp_path)
    with HubDouble() as double:
        for name, folder in published.items():
            double.add(name, folder)
        turn_to(double, tmp_path / "cache", monkeypatch)
        yield double


def refusal(source: str, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        wav2vec2.load(source, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith(f"{source}: ")
    assert "\n" not in message
    return message.removeprefix(f"{source}: ")


def cached(name: str) -> set[str]:
    store = Path("cache") / f"models--{name.replace('/', '--')}"
    return {path.name for path in store.glob("snapshots/*/*")}


def same(one: Model, other: Model) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_published_layouts(hub: HubDouble, published: dict[str, Path]) -> None:
    kinds = {ENCODER: Wav2Vec2ForPretraining}
    for name, folder in published.items():
        model = wav2vec2.load(name)
        assert type(model) is kinds.get(name, Wav2Vec2ForCTC)
        source = folder / "omniASR-CTC-300M.pt" if name == OMNILINGUAL else folder
        assert same(model, wav2vec2.load(source)), name
    assert WEIGHTS in cached(ENCODER)
    assert WEIGHTS not in cached(DEFAULT_MODEL)  # beside safetensors it is not needed
    assert not {name for name in cached(MULTILINGUAL_MODEL) if name.startswith("adapter.")}


def test_what_is_fetched_is_said_before(
    hub: HubDouble, published: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories[MULTILINGUAL_MODEL].gated = True
    hub.repositories[MULTILINGUAL_MODEL].token = "hf_secret"
    assert refusal(MULTILINGUAL_MODEL).startswith("is gated on the hub; accept its conditions there and give a token")
    (line,) = capsys.readouterr().err.splitlines()
    size = (published[MULTILINGUAL_MODEL] / "model.safetensors").stat().st_size / 1000
    assert line.startswith(f"{MULTILINGUAL_MODEL}: fetching ")
    assert abs(float(line.split()[2]) - size) < 0.1 * size
    place = f"from {hub.endpoint} into {Path('cache').resolve()}"
    assert line.endswith(f"{place}; licence: cc-by-nc-4.0 (not for commercial use)")
    assert not [asked for asked in hub.asked if asked.startswith("GET /large/")]
    wav2vec2.load(MULTILINGUAL_MODEL, token="hf_secret")
    capsys.readouterr()
    wav2vec2.load(MULTILINGUAL_MODEL, token="hf_secret")
    assert capsys.readouterr().err == ""  # all of it is there


def test_a_connection_that_is_cut_is_taken_up_again(hub: HubDouble, published: dict[str, Path]) -> None:
    hub.faults.cuts[WEIGHTS] = [1000, 0, 5000]
    assert same(wav2vec2.load(ENCODER), wav2vec2.load(published[ENCODER]))
    assert hub.ranges == [f"{WEIGHTS} bytes=1000-", f"{WEIGHTS} bytes=1000-", f"{WEIGHTS} bytes=6000-"]


def test_a_later_attempt_goes_on(
    hub: HubDouble, published: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.faults.cuts[WEIGHTS] = [1000] + [0] * 20
    assert "fetching it from the hub failed" in refusal(ENCODER)
    assert refusal(ENCODER, offline=True).startswith("neither a local path nor in the hub's cache; fetch it once")
    hub.faults.cuts.clear()
    hub.ranges.clear()
    capsys.readouterr()
    assert same(wav2vec2.load(ENCODER), wav2vec2.load(published[ENCODER]))
    assert hub.ranges == [f"{WEIGHTS} bytes=1000-"]
    assert f"{ENCODER}: 1 kB of it are there from an earlier attempt" in capsys.readouterr().err
    assert not list(Path("cache").rglob("*.incomplete"))


CHILD = """
import sys
from wav2vec2.checkpoints.hub import fetch
print(fetch(sys.argv[1]))
"""


def test_a_killed_process_leaves_what_the_next_one_goes_on_from(hub: HubDouble, published: dict[str, Path]) -> None:
    """SIGKILL, with the hub's library as it is in a process of its own."""
    command = [sys.executable, "-c", CHILD, ENCODER]
    hub.faults.stalled[WEIGHTS] = 5000
    surroundings = environment(hub.endpoint, Path("cache").resolve())
    with subprocess.Popen(command, env=surroundings, stderr=subprocess.PIPE) as child:
        while child.poll() is None and not any(file.stat().st_size for file in Path("cache").rglob("*.incomplete")):
            threading.Event().wait(0.02)
        child.kill()
    assert child.returncode == -signal.SIGKILL
    (partial,) = Path("cache").rglob("*.incomplete")
    there = partial.stat().st_size
    hub.faults.stalled.clear()
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=True)
    assert hub.ranges == [f"{WEIGHTS} bytes={there}-"]
    arrived = Path(done.stdout.strip())
    assert same(wav2vec2.load(arrived), wav2vec2.load(published[ENCODER]))


def test_a_damaged_download_is_not_kept(hub: HubDouble, published: dict[str, Path]) -> None:
    hub.faults.damaged = {WEIGHTS}
    assert refusal(ENCODER).startswith(f"{WEIGHTS} arrived damaged: its SHA-256 is not the one that the hub names")
    assert WEIGHTS not in cached(ENCODER)
    hub.faults.damaged = {"config.json"}
    assert refusal(ENCODER).startswith("config.json arrived damaged")
    hub.faults.damaged = set()
    assert same(wav2vec2.load(ENCODER), wav2vec2.load(published[ENCODER]))


def test_what_is_left_of_an_earlier_attempt_may_be_damaged(hub: HubDouble, published: dict[str, Path]) -> None:
    hub.faults.cuts[WEIGHTS] = [1000] + [0] * 20
    refusal(ENCODER)
    (partial,) = Path("cache").rglob("*.incomplete")
    partial.write_bytes(b"x" * 1000)
    hub.faults.cuts.clear()
    assert same(wav2vec2.load(ENCODER), wav2vec2.load(published[ENCODER]))


def test_the_cache_answers_without_the_hub(
    hub: HubDouble, published: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = wav2vec2.load(published[DEFAULT_MODEL])
    wav2vec2.load(DEFAULT_MODEL)
    hub.asked.clear()
    assert same(wav2vec2.load(DEFAULT_MODEL), there)
    assert not [asked for asked in hub.asked if "/resolve/" in asked or "/large/" in asked]
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert same(wav2vec2.load(DEFAULT_MODEL), there)
    assert hub.asked == []


def test_offline_without_a_cache(hub: HubDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    words = "neither a local path nor in the hub's cache, and HF_HUB_OFFLINE is set; fetch it once while online"
    assert refusal(DEFAULT_MODEL) == f"{words}; or name a model that lies here: --model FOLDER"
    Path("runs/demo/finetune").mkdir(parents=True)
    assert refusal(DEFAULT_MODEL) == f"{words}; the demo's model lies here: --model runs/demo/finetune"
    assert refusal(ENCODER) == words


def test_a_hub_that_is_down(hub: HubDouble) -> None:
    hub.faults.down = True
    assert refusal(ENCODER) == "the hub answered with status 503; try again later, or give a local directory"


def test_a_full_disk(hub: HubDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 1000))  # type: ignore[attr-defined]
    assert "has 1 kB left; free some space, or set HF_HOME to a folder of another disk" in refusal(ENCODER)


def test_a_language_has_its_own_adapter_head_and_symbols(
    hub: HubDouble, published: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = wav2vec2.load(MULTILINGUAL_MODEL, language="hin")
    assert isinstance(model, Wav2Vec2ForCTC)
    assert model.vocabulary is not None
    assert "क" in model.vocabulary.symbols
    assert model.head.out_features == len(model.vocabulary)
    assert same(model, wav2vec2.load(published[MULTILINGUAL_MODEL], language="hin"))
    assert {name for name in cached(MULTILINGUAL_MODEL) if "adapter" in name} == {"adapter.hin.safetensors"}
    words = "has no language 'sw'; did you mean swh? It has 3 languages, by their codes of three letters (ISO 639-3)"
    assert refusal(MULTILINGUAL_MODEL, language="sw").startswith(words)
    assert refusal(DEFAULT_MODEL, language="swh").startswith("has no language adapters; only a multilingual model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert same(model, wav2vec2.load(MULTILINGUAL_MODEL, language="hin"))
    words = "its language 'swh' is not in the hub's cache, and HF_HUB_OFFLINE is set; fetch it once while online"
    assert refusal(MULTILINGUAL_MODEL, language="swh") == f"{words}; the cache has hin"


def test_languages_that_may_have_been_meant() -> None:
    known = {"swh", "swe", "deu", "eng", "spa", "uzb-script_latin", "uzb-script_cyrillic"}
    assert near_languages("Swahili", known) == ["swe", "swh"]
    assert near_languages("de", known) == ["deu"]
    assert near_languages("uzb", known) == ["uzb-script_cyrillic", "uzb-script_latin"]
    assert near_languages("xyz", known) == []


def test_the_model_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAV2VEC2_MODEL", raising=False)
    assert chosen_model(None) == "facebook/wav2vec2-base-960h"
    assert chosen_model(None, "swh") == "facebook/mms-1b-all"
    assert chosen_model("mine", "swh") == "mine"
    monkeypatch.setenv("WAV2VEC2_MODEL", "runs/mine")
    assert chosen_model(None, "swh") == chosen_model("") == "runs/mine"
    assert chosen_model("other") == "other"
