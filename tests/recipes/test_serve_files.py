"""The unit of systemd and the image of a server: both start what the program understands, and let it end.

docs/serving.md says what was run of them under a real systemd, and what was built.
"""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from wav2vec2 import cli
from wav2vec2.serve import command
from wav2vec2.serve.command import ServeOptions

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "recipes/serve/wav2vec2.service"
DOCKERFILE = ROOT / "recipes/serve/Dockerfile"


def understood(words: list[str], monkeypatch: pytest.MonkeyPatch) -> ServeOptions:
    """What the program makes of a command line."""
    found: list[ServeOptions] = []
    monkeypatch.setattr(command, "run", found.append)
    assert Path(words[0]).name == "wav2vec2"
    assert cli.main(words[1:]) == 0
    return found[0]


def settings(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.M)


def instructions(name: str) -> list[str]:
    joined = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(rf"^{name} +(.*)$", joined, re.M)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("wrong", ["", "ProtectSystem=strictly"])
def test_systemd_understands_the_unit(wrong: str, tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8").replace("ExecStart=/opt/wav2vec2/bin/wav2vec2", "ExecStart=/bin/true")
    unit = tmp_path / "wav2vec2.service"
    unit.write_text(text.replace("ProtectSystem=strict", wrong or "ProtectSystem=strict"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "wav2vec2.service" in line]
    assert bool(said) == bool(wrong), said


def test_the_unit_starts_a_server_that_shows_its_keys_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = settings("ExecStart")
    options = understood(shlex.split(line), monkeypatch)
    (credential,) = settings("LoadCredential")
    assert str(options.keys) == f"%d/{credential.partition(':')[0]}"
    assert float(settings("TimeoutStopSec")[0]) > options.drain_seconds
    assert settings("RestartPreventExitStatus") == ["2"]  # what is wrong with the model stays wrong


def test_the_image_starts_a_server_and_is_given_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = re.findall(r"^# +docker run (.*)$", DOCKERFILE.read_text(encoding="utf-8"), re.M)
    words = shlex.split(line)
    place = words.index("wav2vec2")
    options = understood([*json.loads(instructions("ENTRYPOINT")[0]), *words[place + 1 :]], monkeypatch)
    assert options.host == "0.0.0.0"
    assert f"{options.port}:{options.port}" in words
    assert instructions("EXPOSE") == [str(options.port)]
    assert float(words[words.index("--stop-timeout") + 1]) > options.drain_seconds
    (kept,) = instructions("VOLUME")
    assert f"wav2vec2:{kept}" in words


def test_what_is_copied_into_the_image_is_there_and_sent_to_the_builder() -> None:
    lines = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    sent = [line[1:] for line in lines if line.startswith("!")]
    copied = [name.rstrip("/") for line in instructions("COPY") for name in line.split()[:-1]]
    assert sorted(copied) == sorted(sent)
    assert all((ROOT / name).exists() for name in copied)
    # what the build of the wheel reads: files named in pyproject.toml, and the packages
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [project["project"]["readme"], *project["project"]["license-files"], *wheel["packages"]]
    for name in (*needed, wheel["hooks"]["custom"]["path"]):
        assert any(name == one or name.startswith(f"{one}/") for one in copied), name
    (extra,) = re.findall(r"\[(\w+)\]", " ".join(instructions("RUN")))
    assert extra in project["project"]["optional-dependencies"]
