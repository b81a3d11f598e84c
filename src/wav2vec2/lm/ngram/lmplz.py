"""KenLM's own estimator, ``lmplz``, where it is installed: compiled, on all cores, for billions of words."""

import gzip
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from wav2vec2.errors import UserError


def run_lmplz(
    sentences: Iterable[Sequence[str]],
    out: Path,
    *,
    order: int,
    prune: Sequence[int],
    vocabulary: Path | None,
    memory: int,
    folder: Path,
    zipped: bool,
) -> None:
    """Estimate as ``KneserNey`` does and write the ARPA file ``out``, gzipped where ``zipped``.

    vocabulary: words that n-grams may have; lmplz prunes all others (``KneserNey`` counts them as ``<unk>``). memory:
    bytes. folder: for sorted runs.

    Raises:
        UserError: lmplz is not on PATH or fails; with its own reason.
    """
    program = shutil.which("lmplz")
    if program is None:
        raise UserError("--engine lmplz: no lmplz on PATH; build KenLM (kheafield.com/code/kenlm) or use --engine own")
    plain = folder / "model.arpa" if zipped else out
    command = [program, "--order", str(order), "--memory", f"{memory >> 20}M", "--temp_prefix", f"{folder}/"]
    command += ["--discount_fallback", "--arpa", str(plain)]
    command += ["--prune", *map(str, prune)] if any(prune) else []
    command += ["--limit_vocab_file", str(vocabulary)] if vocabulary is not None else []
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
        assert process.stdin is not None
        try:
            with process.stdin as pipe:
                for words in sentences:
                    pipe.write(" ".join(word for word in words if word != "<unk>").encode() + b"\n")
        except BrokenPipeError:
            pass  # it stopped; its status and what it said tell why
        except BaseException:
            process.kill()
            raise
        finally:
            status = process.wait()
        if status:
            said.seek(0)
            lines = said.read().decode(errors="replace").split("\n")
            reason = next((line for line in reversed(lines) if line.strip()), f"status {status}")
            raise UserError(f"lmplz failed: {' '.join(reason.split())}; see its own documentation, or --engine own")
    if zipped:
        with plain.open("rb") as source, gzip.open(out, "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        plain.unlink()
