"""What a browser's own recorder writes: WebM with Opus, in pieces, without a duration."""

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from wav2vec2.audio.read import SAMPLE_RATE, audio_info, read_audio

PAGE = """<script>
const context = new AudioContext(), out = context.createMediaStreamDestination();
const tone = context.createOscillator();
tone.frequency.value = 440; tone.connect(out); tone.start();
const type = "TYPE", parts = [];
const send = body => fetch("/", {method: "POST", body: body});
if (!MediaRecorder.isTypeSupported(type)) send("");
const recorder = new MediaRecorder(out.stream, {mimeType: type});
recorder.ondataavailable = event => parts.push(event.data);
recorder.onstop = () => send(new Blob(parts));
context.resume().then(() => { recorder.start(250); setTimeout(() => recorder.stop(), 2000); });
</script>"""

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def served(page: str) -> Iterator[tuple[str, list[bytes], threading.Event]]:
    """A page at an address, what it sends back, and an event for when it has."""
    received: list[bytes] = []
    arrived = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            arrived.set()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", received, arrived
        server.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
@pytest.mark.parametrize("kind", ["audio/webm;codecs=opus", "audio/mp4;codecs=opus", "audio/mp4;codecs=mp4a.40.2"])
def test_a_recording_of_chromium(kind: str, tmp_path: Path) -> None:
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    with served(PAGE.replace("TYPE", kind)) as (address, received, arrived):
        command = [str(CHROMIUM), *options, f"--user-data-dir={tmp_path / 'profile'}", address]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert arrived.wait(60)
        finally:
            browser.kill()
            browser.wait()
    if not received[0]:
        pytest.skip(f"this chromium does not write {kind}")
    (tmp_path / "recording").write_bytes(received[0])
    waveform = read_audio(tmp_path / "recording")
    info = audio_info(tmp_path / "recording")
    assert info.samples == len(waveform)
    assert not info.warning
    assert 1.5 < len(waveform) / SAMPLE_RATE < 3.5
    loudness = np.abs(np.fft.rfft(waveform[SAMPLE_RATE // 2 : -SAMPLE_RATE // 4]))
    assert np.argmax(loudness) * SAMPLE_RATE / (len(waveform) - SAMPLE_RATE * 3 // 4) == pytest.approx(440, abs=5)
