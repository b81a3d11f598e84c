"""The command ``wav2vec2 tune``: language model weight and word score for a development set (section 4.4 and
appendix C).

The paper runs 128 trials of Bayesian optimisation, with weights in [0, 5] and word scores in [-5, 5]. The trials here
are those of optuna's tree-structured Parzen estimator. Emissions are computed once. Weights multiply natural
logarithms, as everywhere in this package.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from wav2vec2.data.manifest import Manifest
from wav2vec2.decode.build import DecodingOptions, build_decoder, open_each_once
from wav2vec2.decode.presets import Preset, Tuned, fingerprint, write_preset
from wav2vec2.errors import UserError
from wav2vec2.evaluation.joined import best_settings, joined, print_trial, settings_line
from wav2vec2.evaluation.objective import Objective, counted, greedy_errors, normalizer, search_errors
from wav2vec2.evaluation.trials import Trial, optimise
from wav2vec2.inference.acoustic_model import AcousticModel, locate_recognizer
from wav2vec2.inference.emissions import Precision, UtteranceEmissions, cached_emissions
from wav2vec2.inference.frame_outputs import ComputeOptions
from wav2vec2.inference.windows import PieceSettings
from wav2vec2.progress import is_quiet, progress_bar

NGRAM_BEAM, TRANSFORMER_BEAM = 500, 50


@dataclass(frozen=True)
class TuneOptions:
    """Find the language model weight and word score with the fewest errors on a development set, or without a language
    model, how long recordings are best cut into pieces.

    The result is a preset, which transcribe and evaluate take with --preset. With --rescore, the weight and word score
    of the second ranking are tuned, and the search keeps its own (from --preset, or --lm-weight and --word-score).
    After Ctrl-C the preset of the best trial so far is written, and the same command continues.
    """

    model: Annotated[str, Positional, arg(metavar="MODEL")]
    """A model directory, checkpoint file or hub id with a CTC head."""
    manifest: Annotated[str, Positional, arg(metavar="MANIFEST")]
    """A manifest (file, folder or pattern). Do not tune on the data that you test on."""
    language: str | None = None
    """Language of a multilingual model such as facebook/mms-1b-all, by its code of three letters, such as swh."""
    split: str | None = None
    """Only this split, such as dev-other, or several: dev+dev-other."""
    out: Path = Path("preset.toml")
    """The preset to write; its trials are logged to PRESET.trials.jsonl beside it."""
    trials: int = 128
    """Number of pairs to try."""
    lm_weight_range: tuple[float, float] = (0.0, 5.0)
    """Range of the language model weight (for natural logarithms)."""
    word_score_range: tuple[float, float] = (-5.0, 5.0)
    """Range of the score that is added for every word."""
    joined_minutes: float | None = None
    """Minutes of long recordings, joined from the utterances, on which pause, margin and statistics are chosen first
    (see transcribe --pieces). Without a language model they are all there is to tune; the default is 10 then, else 0:
    they are left as they are."""
    seed: int = 0
    """Seed of the optimiser; the same seed gives the same result."""
    emissions: Path | None = None
    """File that stores the model's log-probabilities; PRESET.emissions.npz beside the preset if not given."""
    emissions_precision: Precision = "float32"
    """Type of the numbers in that file; float16 halves its size."""
    decoding: OmitArgPrefixes[DecodingOptions] = field(default_factory=DecodingOptions)
    compute: OmitArgPrefixes[ComputeOptions] = field(default_factory=ComputeOptions)


def run(options: TuneOptions) -> None:
    """Tune, write the preset, and print its error rate."""
    preset = tune(options)
    rate = 100 * (preset.tuned.wer or 0.0)
    if preset.decoder == "greedy":
        chosen = settings_line(PieceSettings("speech", None, preset.pause, preset.margin, preset.statistics))
        print(f"{options.out}: {chosen}; error rate {rate:.2f} % on joined recordings")
        return
    weight = preset.search.lm_weight if preset.rescore is None else preset.rescore_weight
    score = preset.search.word_score if preset.rescore is None else preset.rescore_word_score
    print(
        f"{options.out}: error rate {rate:.2f} % on {preset.tuned.utterances} utterances "
        f"with LM weight {weight:.3f} (natural log), word score {score:.3f}, beam {preset.search.beam}; "
        f"greedy decoding: {100 * (preset.tuned.greedy_wer or 0.0):.2f} %"
    )
    if not preset.tuned.helps:
        print(f"{options.out}: the language model does not help here: leave --preset out, or give it more text")


def tune(options: TuneOptions) -> Preset:
    """Run the trials, and write the preset of the best one, also after an interruption.

    Raises UserError for options out of range, for a search without a language model, and for a manifest without
    transcripts.
    """
    chosen = _chosen(options)
    with ExitStack() as stack:
        model = AcousticModel(options.model, compute=options.compute, language=options.language)
        chosen = _with_pieces(chosen, options, model)
        if chosen.decoder == "greedy":
            write_preset(chosen, options.out)
            return chosen
        # Opened before the long pass over the audio, so that a broken language model is reported at once.
        open_lm = open_each_once(model.device)
        workers, hotwords = options.decoding.workers, options.decoding.hotwords
        decoder = build_decoder(chosen, model.vocabulary, workers=workers, hotwords=hotwords, open_lm=open_lm)
        stack.callback(decoder.close)
        utterances = _emitted(options, model)
        objective = search_errors(chosen, model.vocabulary, utterances, decoder, open_lm)
        greedy = greedy_errors(model.vocabulary, utterances).rate
        found: list[Trial] = []
        try:
            _try_all(options, chosen, objective, found)
        finally:
            if found:
                preset = _preset(chosen, options, found, greedy, len(utterances))
                write_preset(preset, options.out)
    return preset


def _chosen(options: TuneOptions) -> Preset:
    """The search to be tuned, with the beam of the paper's tuning unless the user chose one."""
    for name, (low, high) in (
        ("lm-weight-range", options.lm_weight_range),
        ("word-score-range", options.word_score_range),
    ):
        if not -1e6 < low < high < 1e6:
            raise UserError(f"--{name} {low} {high}: give two finite numbers, the smaller first")
    if options.trials < 1 or options.seed < 0:
        raise UserError("tune: --trials must be at least 1 and --seed at least 0")
    chosen = options.decoding.resolve()
    minutes = options.joined_minutes
    if minutes is not None and not 0 <= minutes < 1e6:
        raise UserError(f"--joined-minutes {minutes:g}: give at least 0 minutes")
    if chosen.lm is None and chosen.rescore is None and (chosen.decoder != "greedy" or minutes == 0):
        raise UserError("tune: there is nothing to tune without a language model; give --lm, or --joined-minutes")
    if options.decoding.beam is None and options.decoding.preset is None:
        transformer = chosen.lm is not None and Path(chosen.lm).is_dir()
        beam = TRANSFORMER_BEAM if transformer else NGRAM_BEAM
        chosen = replace(chosen, search=replace(chosen.search, beam=beam))
    return chosen


def _with_pieces(chosen: Preset, options: TuneOptions, model: AcousticModel) -> Preset:
    """Choose how recordings are cut into pieces, on joined ones, if that is wanted."""
    unless_said = 10.0 if chosen.decoder == "greedy" else 0.0
    minutes = unless_said if options.joined_minutes is None else options.joined_minutes
    if not minutes:
        return chosen
    manifest = Manifest.open(options.manifest, split=options.split)
    recordings = list(joined(manifest, seconds=300.0, most_seconds=60 * minutes, seed=options.seed))
    if not recordings:
        raise UserError(f"{options.manifest}: no utterance with a transcript to tune on; check split and text")
    normalize = normalizer(model.vocabulary)
    texts = [normalize(text) for one in recordings for text in one.texts]
    count = counted(texts)
    best, errors = best_settings(model, recordings, lambda r, h: count(normalize(r), normalize(h)), print_trial)
    tuned = chosen.tuned
    if chosen.decoder == "greedy":
        tuned = Tuned(options.model, options.manifest, options.split or "", len(texts), errors.rate, seed=options.seed)
    return replace(chosen, pause=best.pause, margin=best.margin, statistics=best.statistics, tuned=tuned)


def _emitted(options: TuneOptions, model: AcousticModel) -> list[UtteranceEmissions]:
    manifest = Manifest.open(options.manifest, split=options.split)
    cache = options.emissions or options.out.with_suffix(".emissions.npz")
    utterances = []
    with progress_bar() as progress:
        task = progress.add_task("emissions", total=len(manifest))
        weights = fingerprint(locate_recognizer(options.model, options.language)) + (options.language or "")
        stored = cached_emissions(model, manifest, cache, source=weights, precision=options.emissions_precision)
        for utterance in stored:
            utterances.append(utterance)
            progress.advance(task)
    if not utterances:
        raise UserError(f"{options.manifest}: no utterance with a transcript to tune on; check split and text")
    return utterances


def _try_all(options: TuneOptions, chosen: Preset, objective: Objective, found: list[Trial]) -> None:
    identity = {
        "emissions": fingerprint(options.emissions or options.out.with_suffix(".emissions.npz")),
        "decoder": chosen.decoder,
        "lm": chosen.lm and fingerprint(chosen.lm),
        "lexicon": chosen.lexicon and fingerprint(chosen.lexicon),
        "rescore": chosen.rescore and f"{fingerprint(chosen.rescore)} {chosen.rescore_share:g}",
        "search": repr(chosen.search),
        **({"hotwords": dict(options.decoding.hotwords)} if options.decoding.hotwords else {}),
        "ranges": [*options.lm_weight_range, *options.word_score_range],
        "seed": options.seed,
    }
    first = (chosen.search.lm_weight, chosen.search.word_score)
    if chosen.rescore is not None:
        first = (chosen.rescore_weight, chosen.rescore_word_score)
    with progress_bar() as progress:
        task = progress.add_task("trials", total=options.trials)
        trials = optimise(
            objective,
            (options.lm_weight_range, options.word_score_range),
            trials=options.trials,
            seed=options.seed,
            first=first,
            log=options.out.with_suffix(".trials.jsonl"),
            identity=identity,
        )
        for trial in trials:
            better = not found or trial.errors < min(other.errors for other in found)
            found.append(trial)
            progress.advance(task)
            tried = f"{100 * trial.rate:.2f} % at LM weight {trial.lm_weight:.3f}, word score {trial.word_score:.3f}"
            line = f"trial {len(found)} of {options.trials}: {tried}{', the best so far' if better else ''}"
            if not is_quiet():
                progress.console.print(line, highlight=False, soft_wrap=True)


def _preset(chosen: Preset, options: TuneOptions, found: Sequence[Trial], greedy: float, utterances: int) -> Preset:
    best = min(found, key=lambda trial: trial.errors)
    tuned = Tuned(
        model=options.model,
        manifest=options.manifest,
        split=options.split or "",
        utterances=utterances,
        wer=best.rate,
        greedy_wer=greedy,
        trials=len(found),
        sampler="tpe",
        seed=options.seed,
        beam=chosen.search.beam,
    )
    if chosen.rescore is not None:
        return replace(chosen, rescore_weight=best.lm_weight, rescore_word_score=best.word_score, tuned=tuned)
    search = replace(chosen.search, lm_weight=best.lm_weight, word_score=best.word_score)
    return replace(chosen, search=search, tuned=tuned)
