"""`/v1/audio/transcriptions` by OpenAI's own client: what it says is what `Transcriber` says."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import httpx2
import openai
import pysubs2
import pytest
import soundfile
import webvtt
from tests.serve.conftest import Served, within

from wav2vec2 import Aligner, Transcriber
from wav2vec2.output.transcript import Transcript


@pytest.fixture(scope="session")
def offline(model_folder: Path) -> Callable[[Path], Transcript]:
    return Transcriber(model_folder, device="cpu", longest_piece=None).__call__


def test_says_what_a_transcriber_says(server: Served, wav: Callable[..., Path], offline: Callable[[Path], Transcript]):
    path = wav(9.0, 7.0, 12.0)
    expected = offline(path)
    assert len(expected.words) > 20
    granularities = ["word", "segment"]
    heard = server.client.audio.transcriptions.create(
        model="whisper-1", file=path, response_format="verbose_json", timestamp_granularities=granularities
    )
    assert heard.text == expected.text
    assert [w.word for w in heard.words] == [w.text for w in expected.words]
    assert [w.start for w in heard.words] == pytest.approx([w.start for w in expected.words], abs=6e-4)
    assert heard.duration == pytest.approx(expected.seconds, abs=1e-3)
    assert " ".join(s.text for s in heard.segments) == expected.text
    assert len(heard.segments) >= 2
    for segment in heard.segments:
        assert segment.avg_logprob < 0 <= segment.no_speech_prob
        assert segment.tokens
        assert segment.end > segment.start


def test_formats(server: Served, wav: Callable[..., Path], offline: Callable[[Path], Transcript], tmp_path: Path):
    path = wav(5.0)
    create = server.client.audio.transcriptions.create
    text = offline(path).text
    assert create(model="tiny", file=path).text == text
    assert create(model="tiny", file=path, response_format="text").strip() == text
    assert (
        " ".join(
            c.plaintext.replace("\n", " ")
            for c in pysubs2.SSAFile.from_string(create(model="tiny", file=path, response_format="srt"), format_="srt")
        )
        == text
    )
    (tmp_path / "a.vtt").write_text(create(model="tiny", file=path, response_format="vtt"))
    assert " ".join(c.text.replace("\n", " ") for c in webvtt.read(tmp_path / "a.vtt")) == text
    tokens = create(model="tiny", file=path, include=["logprobs"]).logprobs
    assert "".join(token.token for token in tokens) == text
    assert all(token.logprob <= 0 and bytes(map(int, token.bytes)).decode() == token.token for token in tokens)


def test_a_stream_gives_what_is_said_piece_by_piece(
    server: Served, wav: Callable[..., Path], offline: Callable[[Path], Transcript]
):
    path = wav(12.0, 14.0, 13.0)
    events = list(server.client.audio.transcriptions.create(model="tiny", file=path, stream=True))
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert len(deltas) >= 2
    assert events[-1].type == "transcript.text.done"
    assert "".join(deltas) == events[-1].text == offline(path).text


def test_the_asynchronous_client_and_many_at_once(
    server: Served, wav: Callable[..., Path], offline: Callable[[Path], Transcript]
):
    paths = [wav(1.0 + n / 4, name=f"{n}.wav", seed=n) for n in range(12)]

    async def all_of_them() -> list[str]:
        address = f"{server.address}/v1"
        async with openai.AsyncOpenAI(base_url=address, api_key="any", max_retries=0) as client:
            create = client.audio.transcriptions.create
            return [a.text for a in await asyncio.gather(*(create(model="tiny", file=path) for path in paths))]

    assert asyncio.run(all_of_them()) == [offline(path).text for path in paths]


def test_hotwords_and_keywords_are_those_of_a_transcriber(
    server: Served, model_folder: Path, wav: Callable[..., Path], offline: Callable[[Path], Transcript]
):
    path = wav(4.0)
    word = offline(path).words[0].text
    favoured = word[:-1] or word * 2
    create = server.client.audio.transcriptions.create
    with Transcriber(model_folder, device="cpu", decoder="beam", hotwords={favoured: 40.0}) as transcriber:
        expected = transcriber(path).text
    assert expected != offline(path).text
    for name in ("hotwords", "hotwords[]", "keywords"):
        assert create(model="tiny", file=path, extra_body={name: [f"{favoured}:40"]}).text == expected


def test_alignment(server: Served, wav: Callable[..., Path]):
    path, text = wav(4.0), "QUICK FOX DOG"
    with path.open("rb") as file:
        answer = httpx2.post(
            f"{server.address}/v1/audio/alignments", files={"file": file}, data={"text": text}, timeout=120
        )
    expected = Aligner(server.model, device="cpu")(path, text).as_json()
    found = answer.json()
    assert [w["text"] for w in found["words"]] == [w["text"] for w in expected["words"]]
    assert [w["start"] for w in found["words"]] == pytest.approx([w["start"] for w in expected["words"]])


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "gpt-9"}, 404, "model"),
        ({"response_format": "xml"}, 400, "response_format"),
        ({"timestamp_granularities[]": "word"}, 400, "timestamp_granularities"),
        ({"stream": "maybe"}, 400, "stream"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"include[]": "everything"}, 400, "include"),
        ({"hotwords[]": ":5"}, 400, "hotwords"),
    ],
)
def test_what_is_wrong_is_said(
    server: Served, wav: Callable[..., Path], fields: dict[str, str], status: int, param: str
):
    with wav(0.5).open("rb") as file:
        answer = httpx2.post(
            f"{server.address}/v1/audio/transcriptions", files={"file": file}, data=fields, timeout=120
        )
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_file_that_is_none_and_one_that_is_too_long(server: Served, tmp_path: Path, wav: Callable[..., Path]):
    (tmp_path / "notes.wav").write_text("no sound at all")
    with pytest.raises(openai.BadRequestError, match=r"notes\.wav"):
        server.client.audio.transcriptions.create(model="tiny", file=tmp_path / "notes.wav")
    with soundfile.SoundFile(tmp_path / "quiet.flac", "w", 16_000, 1) as file:
        for _ in range(200):
            file.write([0.0] * 16_000)
    with pytest.raises(openai.APIStatusError, match="longer than 120 seconds") as caught:
        server.client.audio.transcriptions.create(model="tiny", file=tmp_path / "quiet.flac")
    assert caught.value.status_code == 413
    with pytest.raises(openai.BadRequestError):
        list(server.client.audio.transcriptions.create(model="tiny", file=tmp_path / "notes.wav", stream=True))


def test_paths_and_methods_that_do_not_exist(server: Served):
    for path, method, status in (("/v1/nothing", "GET", 404), ("/v1/models", "DELETE", 405)):
        request = urllib.request.Request(server.address + path, method=method)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == status
        assert "error" in json.load(caught.value)


def test_models_health_and_metrics(server: Served):
    assert [model.id for model in server.client.models.list()] == ["tiny", "whisper-1"]
    assert server.client.models.retrieve("tiny").id == "tiny"
    for path in ("/health/live", "/health/ready"):
        assert urllib.request.urlopen(server.address + path).status == 200
    text = urllib.request.urlopen(f"{server.address}/metrics").read().decode()
    assert 'wav2vec2_requests_total{path="/health/ready",status="200"}' in text


def test_a_decoder_process_serves_one_request_after_the_other(server: Served, wav: Callable[..., Path]):
    parent = server.children("decoder_process")[0]
    children = Path(f"/proc/{parent}/task/{parent}/children")
    create, path = server.client.audio.transcriptions.create, wav(2.0)
    text = create(model="tiny", file=path).text
    broken = wav(1.0, name="broken.wav")
    broken.write_bytes(broken.read_bytes()[:40])
    seen = set()
    for _ in range(10):
        assert create(model="tiny", file=path).text == text
        seen.update(children.read_text().split())
        with pytest.raises(openai.BadRequestError):
            create(model="tiny", file=broken)
        seen.update(children.read_text().split())
    # One that compiles the search, those of other tests, and a new one when the search is compiled: not one a request.
    assert len(seen) <= 12
    folders = [Path(f"/proc/{number}/fd") for number in seen & set(children.read_text().split())]
    # Each has six open; twenty requests would have left forty.
    assert within(10, lambda: all(len(list(folder.iterdir())) <= 10 for folder in folders))
