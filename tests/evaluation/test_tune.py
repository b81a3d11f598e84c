import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.test_evaluate import split_manifest
from tests.inference.spoken_symbols import VOCABULARY, LoudnessCTC

from wav2vec2.data.manifest import Manifest
from wav2vec2.decode.build import DecodingOptions
from wav2vec2.decode.presets import load_preset
from wav2vec2.errors import UserError
from wav2vec2.evaluation import tune
from wav2vec2.evaluation.trials import optimise
from wav2vec2.evaluation.tune import TuneOptions, run
from wav2vec2.inference.acoustic_model import AcousticModel
from wav2vec2.inference.emissions import cached_emissions
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.text.error_rate import ErrorCounts


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TuneOptions:
    """A model that mishears FOX as BOX, which only the language model can mend; its weight begins at zero."""
    (tmp_path / "model").mkdir()
    VOCABULARY.save(tmp_path / "model")
    monkeypatch.setattr("wav2vec2.checkpoints.load.load", lambda source, language: LoudnessCTC())
    path = split_manifest(tmp_path)
    search = DecodingOptions(lm=tmp_path / "words.arpa", lm_weight=0.0, word_score=0.0, workers=0)
    return TuneOptions(
        str(tmp_path / "model"),
        str(path),
        out=tmp_path / "p.toml",
        trials=12,
        compute=ComputeOptions(device="cpu"),
        decoding=search,
    )


def test_finds_a_better_weight_and_writes_a_preset(case: TuneOptions, capsys: pytest.CaptureFixture[str]) -> None:
    run(case)
    captured = capsys.readouterr()
    assert "error rate 0.00 % on 3 utterances" in captured.out
    lines = [line for line in captured.err.splitlines() if not line.startswith("compiling for this machine")]
    assert lines[0].startswith("trial 1 of 12: 20.00 %")
    preset = load_preset(case.out)
    assert preset.search.lm_weight > 2.0
    assert preset.search.beam == 500
    assert (preset.tuned.trials, preset.tuned.wer, preset.tuned.utterances) == (12, 0.0, 3)
    assert preset.tuned.greedy_wer == pytest.approx(0.4)
    assert preset.tuned.helps
    assert preset.lm == str(case.out.parent / "words.arpa")
    log = case.out.with_suffix(".trials.jsonl").read_text().splitlines()
    assert len(log) == 13
    assert json.loads(log[1])["errors"] == 1


def test_a_language_model_that_does_not_help_is_told(case: TuneOptions, capsys: pytest.CaptureFixture[str]) -> None:
    few = replace(case.decoding, word_score=-1000.0)  # one word at most
    run(replace(case, trials=1, word_score_range=(-1001.0, -999.0), decoding=few))
    said = capsys.readouterr().out
    assert "greedy decoding: 40.00 %" in said
    assert "the language model does not help here" in said
    assert not load_preset(case.out).tuned.helps


def test_a_model_of_the_hub_is_tuned_like_a_local_one(case: TuneOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wav2vec2.checkpoints.load.fetch", lambda model, **options: Path(case.model))
    run(replace(case, model="owner/name", trials=2))
    preset = load_preset(case.out)
    assert (preset.tuned.model, preset.tuned.utterances) == ("owner/name", 3)


def test_finds_the_weight_of_a_mixture_that_rescores(case: TuneOptions) -> None:
    again = case.decoding.lm
    search = replace(case.decoding, rescore=again, rescore_weight=0.0, rescore_word_score=0.0, rescore_share=0.5)
    run(replace(case, decoding=search))
    preset = load_preset(case.out)
    assert preset.rescore_weight > 2.0
    assert (preset.rescore_share, preset.search.lm_weight, preset.tuned.wer) == (0.5, 0.0, 0.0)


def test_an_interrupted_search_is_written_and_goes_on(case: TuneOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = tune.optimise, []

    def stopping(*args: object, **options: object):  # type: ignore[no-untyped-def]
        for trial in real(*args, **options):  # type: ignore[arg-type]
            seen.append(trial)
            yield trial
            if len(seen) == 4:
                raise KeyboardInterrupt

    monkeypatch.setattr(tune, "optimise", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(case)
    assert load_preset(case.out).tuned.trials == 4
    log = case.out.with_suffix(".trials.jsonl")
    log.write_text(log.read_text() + '{"lm_wei')  # killed in the middle of a line
    monkeypatch.setattr(tune, "optimise", real)
    run(case)
    assert load_preset(case.out).tuned.trials == 12
    assert len(log.read_text().splitlines()) == 13
    with pytest.raises(UserError, match="trials of another search"):
        run(replace(case, seed=1))
    log.write_text("nonsense\n")
    with pytest.raises(UserError, match="not a log of trials"):
        run(case)


def test_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    def bowl(weight: float, score: float) -> ErrorCounts:
        return ErrorCounts(substitutions=int(100 * ((weight - 1.3) ** 2 + (score + 2) ** 2)), reference=1000)

    def draw(name: str) -> list[tuple[float, float, int]]:
        settings = {"trials": 48, "seed": 3, "first": (9.0, 0.0), "identity": {}}
        found = optimise(bowl, ((0.0, 5.0), (-5.0, 5.0)), log=tmp_path / name, **settings)  # type: ignore[arg-type]
        return [(trial.lm_weight, trial.word_score, trial.errors) for trial in found]

    one = draw("one")
    assert one == draw("two")
    assert min(errors for *_, errors in one) < min(errors for *_, errors in one[:16])


def test_emissions_are_computed_once(case: TuneOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    model = AcousticModel(LoudnessCTC(), compute=ComputeOptions(device="cpu"))
    manifest = Manifest.open(case.manifest)
    cache = case.out.with_suffix(".npz")
    first = list(cached_emissions(model, manifest, cache))
    passes = len(model.model.shapes)
    again = list(cached_emissions(model, manifest, cache))
    assert len(model.model.shapes) == passes
    assert [one.id for one in again] == ["one", "two", "three"]
    assert all(np.array_equal(a.log_probs, b.log_probs) for a, b in zip(first, again, strict=True))
    assert np.allclose(np.exp(first[0].log_probs).sum(axis=1), 1, atol=1e-5)
    half = list(cached_emissions(model, manifest, cache.with_name("half.npz"), precision="float16"))
    half = list(cached_emissions(model, manifest, cache.with_name("half.npz"), precision="float16"))
    assert np.allclose(half[1].log_probs, first[1].log_probs, atol=0.01)
    with pytest.raises(UserError, match="another model"):
        list(cached_emissions(model, manifest, cache, source="other"))
    cache.write_bytes(cache.read_bytes()[:200])
    with pytest.raises(UserError, match=r"p\.npz: is not a readable cache"):
        list(cached_emissions(model, manifest, cache))


def test_interrupted_emissions_go_on(case: TuneOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wav2vec2.inference.acoustic_model._POOL_RECORDINGS", 1)
    model = AcousticModel(LoudnessCTC(), compute=ComputeOptions(device="cpu"))
    manifest = Manifest.open(case.manifest)
    cache = case.out.with_suffix(".npz")
    stream = cached_emissions(model, manifest, cache)
    assert [next(stream).id, next(stream).id] == ["one", "two"]
    stream.close()
    assert len(model.model.shapes) == 2
    assert [one.id for one in cached_emissions(model, manifest, cache)] == ["one", "two", "three"]
    assert len(model.model.shapes) == 3


def test_unreadable_audio_is_left_out(case: TuneOptions, capsys: pytest.CaptureFixture[str]) -> None:
    (case.out.parent / "two.wav").write_bytes(b"RIFFnothing")
    model = AcousticModel(LoudnessCTC(), compute=ComputeOptions(device="cpu"))
    found = list(cached_emissions(model, Manifest.open(case.manifest), None))
    assert [one.id for one in found] == ["one", "three"]
    assert "two.wav" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trials": 0}, "--trials"),
        ({"lm_weight_range": (2.0, 2.0)}, "--lm-weight-range"),
        ({"word_score_range": (0.0, float("nan"))}, "--word-score-range"),
        ({"decoding": DecodingOptions(), "joined_minutes": 0.0}, "give --lm"),
        ({"joined_minutes": -1.0}, "--joined-minutes"),
        ({"split": "absent"}, "absent"),
    ],
)
def test_impossible_options_are_one_line(case: TuneOptions, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        run(replace(case, **changes))  # type: ignore[arg-type]
    shutil.rmtree(case.out.parent / "absent", ignore_errors=True)
