"""How much of the package one command crosses: files in which a function ran, their lines, and the functions' lines.

    python scripts/journeys.py SPEECH              this checkout; SPEECH is a LibriSpeech-like folder
    python scripts/journeys.py SPEECH ../other     another checkout beside it

Functions that run while modules are imported count, module bodies do not. Compiled code is interpreted, so that it is
seen. Worker processes count. The journey of pre-training ends when the first loss is there.
"""

import argparse
import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
WATCH = """
import os, sys, threading
package, seen, file = os.environ["JOURNEY_PACKAGE"], set(), os.environ["JOURNEY_FILE"]
until = os.environ.get("JOURNEY_UNTIL")
def watch(frame, event, arg):
    code = frame.f_code
    if event == "return" and until and code.co_name == until and code.co_filename.startswith(package):
        sys.setprofile(None)
    if event != "call" or not code.co_flags & 1 or code in seen:  # 1: function, neither module nor class
        return
    seen.add(code)
    if code.co_filename.startswith(package):
        with open(file, "a") as out:
            out.write(f"{code.co_filename}:{code.co_firstlineno}\\n")
threading.setprofile(watch)
sys.setprofile(watch)
"""


def run(checkout: Path, words: list[str], watch: Path, crossed: Path | None = None, until: str = "") -> None:
    """One command of a checkout; with ``crossed`` its files are appended to that file."""
    paths = [str(checkout / "src")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if crossed is not None:
        paths.insert(0, str(watch))
        environment |= {"JOURNEY_PACKAGE": str(checkout / "src" / "wav2vec2"), "JOURNEY_FILE": str(crossed)}
        environment |= {"JOURNEY_UNTIL": until, "NUMBA_DISABLE_JIT": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    done = subprocess.run(
        [sys.executable, "-m", "wav2vec2", *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"wav2vec2 {' '.join(words)}\n{done.stdout}{done.stderr}")


def excerpt(speech: Path, out: Path) -> Path:
    """Six utterances of up to eight seconds or so from each of three speakers, as a tree of links."""
    for speaker in sorted({file.parents[1] for file in speech.rglob("*.trans.txt")})[:3]:
        chapter = next(path for path in sorted(speaker.iterdir()) if path.is_dir())
        folder = out / speaker.name / chapter.name
        folder.mkdir(parents=True)
        lines = next(chapter.glob("*.trans.txt")).read_text(encoding="utf-8").splitlines()
        lines = sorted(lines, key=len)[:6]
        (folder / f"{speaker.name}-{chapter.name}.trans.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for key in (line.split()[0] for line in lines):
            sound = next(path for path in chapter.glob(f"{key}.*"))
            (folder / sound.name).symlink_to(sound.resolve())
    return out


def measured(crossed: Path) -> tuple[int, int, int]:
    """Return how many files a journey crosses, their lines, and the lines of the functions that ran."""
    began: dict[Path, set[int]] = {}
    for line in crossed.read_text(encoding="utf-8").split():
        name, _, first = line.rpartition(":")
        began.setdefault(Path(name), set()).add(int(first))
    whole = inside = 0
    for path, firsts in began.items():
        source = path.read_text(encoding="utf-8")
        whole += len(source.splitlines())
        ran: set[int] = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                first = min(one.lineno for one in (node, *node.decorator_list))
                if first in firsts:
                    ran.update(range(first, node.end_lineno + 1))
        inside += len(ran)
    return len(began), whole, inside


def journeys(speech: Path, checkout: Path, out: Path) -> dict[str, tuple[int, int, int]]:
    """Return files, lines and lines of functions of each journey."""
    watch = out / "watch"
    watch.mkdir(parents=True)
    speech = excerpt(speech, out / "speech")
    (watch / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    recordings = sorted(path for path in speech.rglob("*") if path.suffix in (".flac", ".mp3", ".wav"))
    text = out / "text.txt"
    lines = [line.partition(" ")[2] for file in sorted(speech.rglob("*.trans.txt")) for line in file.open()]
    text.write_text("".join(lines[:200]), encoding="utf-8")
    recipes, data = checkout / "recipes", ["--data.manifest", str(out / "data"), "--data.split", "train"]
    short = ["--batch.seconds", "30", "--batch.workers", "0", "--train.updates", "1", *data]
    pretrain = ["pretrain", str(recipes / "pretrain_tiny.toml"), *short]
    tuned = str(out / "finetune" / "model")
    run(checkout, ["prepare", "librispeech", str(speech), "--out", str(out / "data")], watch)
    run(checkout, [*pretrain, "--output", str(out / "pretrain")], watch)
    finetune = ["finetune", str(recipes / "finetune_tiny.toml"), "--init", str(out / "pretrain" / "model")]
    run(checkout, [*finetune, *short, "--output", str(out / "finetune")], watch)
    ngram = ["lm", "ngram", str(text), "--order", "3", "--lexicon", str(out / "lexicon.txt"), "--out"]
    run(checkout, [*ngram, str(out / "lm.arpa")], watch)
    evaluate = ["evaluate", tuned, str(out / "data"), "--lm", str(out / "lm.arpa")]
    commands = {
        "pretrain to the loss": [*pretrain, "--output", str(out / "again")],
        "transcribe to text": ["transcribe", str(recordings[0]), "--model", tuned],
        "convert": ["convert", tuned, str(out / "converted"), "--to", "fairseq"],
        "lm ngram": [*ngram, str(out / "again.arpa")],
        "evaluate with a language model": [*evaluate, "--beam", "5"],
    }
    found = {}
    for name, words in commands.items():
        crossed = out / f"{name.replace(' ', '-')}.txt"
        run(checkout, words, watch, crossed, until="loss" if name.startswith("pretrain") else "")
        found[name] = measured(crossed)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("checkouts", type=Path, nargs="*", default=[HERE])
    options = parser.parse_args()
    for checkout in options.checkouts:
        with tempfile.TemporaryDirectory() as folder:
            print(f"\n| {checkout.resolve().name} | files | lines | of functions that run |\n|---|---:|---:|---:|")
            found = journeys(options.speech, checkout.resolve(), Path(folder) / "out")
            for name, (files, lines, functions) in found.items():
                print(f"| {name} | {files} | {lines:,} | {functions:,} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
