"""The files for schedulers: what they start is understood, and only a run that was asked to stop is begun again.

Facts: Slurm's --signal=TERM@S goes to the steps S seconds before the end (sbatch(1)); a Job with a podFailurePolicy
needs restartPolicy Never, and terminationGracePeriodSeconds counts from SIGTERM to SIGKILL (Kubernetes' documentation).
"""

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from torch.distributed.run import parse_args

from wav2vec2 import cli
from wav2vec2.train.launch import GRACE_SECONDS
from wav2vec2.train.pretrain import command

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SBATCH = sorted((RECIPES / "slurm").glob("*.sbatch"))
PROGRAMS = {"srun": "exit ${STATUS}", "scontrol": 'if [ "$1" = show ]; then echo node1; echo node2; fi'}


@pytest.fixture
def scheduler(tmp_path: Path) -> Path:
    """A folder of programs by Slurm's names that write down how they are called."""
    for name, body in PROGRAMS.items():
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/calls\n{body}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def submitted(script: Path, scheduler: Path, status: int) -> tuple[int, list[str]]:
    """Exit status of a job whose run ends with ``status``, and the calls of Slurm's programs."""
    environment = {
        "PATH": f"{scheduler}:{os.environ['PATH']}",
        "STATUS": str(status),
        "SLURM_JOB_ID": "17",
        "SLURM_NNODES": "2",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_GPUS_ON_NODE": "4",
    }
    words = ["bash", str(script), str(RECIPES / "pretrain_base.toml"), "--data.manifest", "a folder"]
    done = subprocess.run(words, env=environment, check=False)
    return done.returncode, (scheduler / "calls").read_text().splitlines()


@pytest.mark.parametrize("script", SBATCH, ids=lambda path: path.stem)
@pytest.mark.parametrize("status", [0, 2, 75, 137])
def test_a_job_is_requeued_only_if_it_was_asked_to_stop(script: Path, status: int, scheduler: Path) -> None:
    code, calls = submitted(script, scheduler, status)
    assert code == status
    assert ("scontrol requeue 17" in calls) == (status == 75)


def understood(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[object, command.PretrainConfig]:
    """What torchrun and this package make of the words after the launcher's name."""
    launched = parse_args(words)
    assert (launched.module, launched.training_script) == (True, "wav2vec2")
    found: list[command.PretrainConfig] = []
    monkeypatch.setattr(command, "run", found.append)
    assert cli.main(launched.training_script_args) == 0
    return launched, found[0]


@pytest.mark.parametrize("script", SBATCH, ids=lambda path: path.stem)
def test_what_slurm_starts_is_understood(script: Path, scheduler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, calls = submitted(script, scheduler, 0)
    (line,) = [call for call in calls if call.startswith("srun")]
    line = line.replace("a folder", "'a folder'")
    words = shlex.split(line.partition("wav2vec2.train.launch")[2])
    launched, config = understood(words, monkeypatch)
    assert launched.nproc_per_node == "4"  # type: ignore[attr-defined]
    assert config.data.manifest == "a folder"
    if "several" in script.stem:
        assert (launched.nnodes, launched.rdzv_endpoint) == ("2", "node1:29500")  # type: ignore[attr-defined]
    warned = re.search(r"#SBATCH --signal=TERM@(\d+)", script.read_text())
    assert warned is not None
    assert int(warned[1]) >= GRACE_SECONDS


def test_the_kubernetes_job(monkeypatch: pytest.MonkeyPatch) -> None:
    service, job = yaml.safe_load_all((RECIPES / "cloud/kubernetes.yaml").read_text())
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["metadata"]["name"] == pod["subdomain"] == job["metadata"]["name"]
    assert (spec["completionMode"], pod["restartPolicy"]) == ("Indexed", "Never")
    assert spec["completions"] == spec["parallelism"]
    assert pod["terminationGracePeriodSeconds"] > GRACE_SECONDS
    actions = {
        rule["action"]: rule["onExitCodes"]["values"]
        for rule in spec["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
    }
    assert actions == {"FailJob": [2], "Ignore": [75]}
    line = container["args"][0].replace("/shared/pretrain.toml", str(RECIPES / "pretrain_base.toml"))
    launched, config = understood(shlex.split(line.partition("wav2vec2.train.launch")[2]), monkeypatch)
    assert launched.nnodes == str(spec["completions"])  # type: ignore[attr-defined]
    assert launched.nproc_per_node == str(container["resources"]["limits"]["nvidia.com/gpu"])  # type: ignore[attr-defined]
    assert config.output == "/shared/run"
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/shared", "/dev/shm"}


def test_the_skypilot_task(monkeypatch: pytest.MonkeyPatch) -> None:
    task = yaml.safe_load((RECIPES / "cloud/skypilot.yaml").read_text())
    line = task["run"].partition("wav2vec2.train.launch")[2].replace("\\\n", " ")
    line = line.replace("$RECIPE", str(RECIPES.parent / task["envs"]["RECIPE"]))
    _, config = understood(shlex.split(line), monkeypatch)
    assert config.data.manifest == "/shared/data"
    assert "/shared" in task["file_mounts"]
