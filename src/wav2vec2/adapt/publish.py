"""The folder that ``wav2vec2 adapt`` gives: model, language model, lexicon, preset, report and card."""

import shutil
from dataclasses import replace
from pathlib import Path

from wav2vec2.adapt.card import kept_line, model_card
from wav2vec2.adapt.options import AdaptOptions
from wav2vec2.adapt.outcome import CARD, Outcome, base_licence, read_outcome
from wav2vec2.adapt.plan import DIVIDE, EVALUATE, NGRAM, Adaptation
from wav2vec2.decode.presets import fingerprint, load_preset, write_preset
from wav2vec2.output_file import writing
from wav2vec2.pipeline.kept_model import keep_model
from wav2vec2.pipeline.recipe import Training
from wav2vec2.report.page import Page
from wav2vec2.report.run_log import read_run
from wav2vec2.report.runs import add_runs

MODEL, LM, LEXICON, PRESET, REPORT = "model", "lm.arpa", "lexicon.txt", "preset.toml", "report"


def publish(options: AdaptOptions, adaptation: Adaptation, *, anew: bool = True) -> Outcome:
    """Write the folder from stages that are done, and return what there is to say.

    anew: draw the report, which takes some seconds, even if there is one.

    Raises UserError if a stage's file is damaged, or the folder cannot be written.
    """
    plan, out = adaptation.plan, options.out
    outcome = read_outcome(adaptation)
    fresh = out / f".{MODEL}.partial"
    keep_model(plan.result(adaptation.model), fresh)
    shutil.rmtree(out / MODEL, ignore_errors=True)
    fresh.rename(out / MODEL)
    for source, name in ((plan.result(NGRAM), LM), (plan.folder(NGRAM) / LEXICON, LEXICON)):
        with writing(out / name) as temporary:
            shutil.copyfile(source, temporary)
    preset = out / PRESET
    if outcome.with_lm:
        tuned = load_preset(plan.result(adaptation.tune), check_lm=False)
        lm = out / LM
        write_preset(replace(tuned, lm=str(lm.resolve()), lm_print=fingerprint(lm)), preset)
    else:
        preset.unlink(missing_ok=True)
    _card(options, adaptation, outcome)
    if anew or not (out / REPORT / "report.html").exists():
        _report(options, adaptation, outcome)
    return outcome


def _card(options: AdaptOptions, adaptation: Adaptation, outcome: Outcome) -> None:
    card = model_card(
        options.out.resolve().name,
        options.source,
        base_licence(options.source),
        outcome,
        text=_text(options),
        commands=_commands(adaptation),
        data=Path(options.recordings).resolve().name,
    )
    with writing(options.out / CARD) as temporary:
        Path(temporary).write_text(card, encoding="utf-8")


def _text(options: AdaptOptions) -> str:
    return ", ".join(path.name for path in options.text) or "the transcripts of train alone"


def _commands(adaptation: Adaptation) -> tuple[str, ...]:
    return tuple(line.strip() for number, line in enumerate(adaptation.plan.lines()) if number % 2)


def _report(options: AdaptOptions, adaptation: Adaptation, outcome: Outcome) -> None:
    plan = adaptation.plan
    page = Page(f"{options.out.resolve().name}: a recogniser from {options.source}")
    page.heading("Error rates")
    if failed := outcome.failure(options.source):
        page.text(f"**{failed}**")
    rows = [
        (split, score.upper(), *(row[column][score].text() for column in outcome.columns))
        for split, row in outcome.rates.items()
        for score in row[outcome.columns[0]]
    ]
    caption = "On held-out speakers, with 95 % intervals; valid was used to choose, test was not"
    page.table(("", "", *outcome.columns), rows, caption)
    page.text(f"Used by `transcribe`: {outcome.best}.")
    page.heading("Speech")
    page.text("\n".join(f"- {line}" for line in outcome.divided.get("lines", ())))
    page.heading("What was chosen, and why")
    lines = [f"- {line}" for line in outcome.chosen.get("lines", ())]
    page.text("\n".join([*lines, *map(kept_line, outcome.kept.values())]))
    trained = [stage for stage in plan.stages if isinstance(stage.work, Training) and plan.done(stage.name)]
    runs = [read_run(plan.folder(stage.name), stage.name) for stage in trained]
    for title, kind in (("Pre-training", "pre-training"), ("Fine-tuning", "fine-tuning")):
        if chosen := [run for run in runs if run.kind == kind]:
            add_runs(page, chosen, title)
    page.heading("Stages")
    page.table(("stage", "what it does"), [(stage.name, stage.title) for stage in plan.stages])
    page.text("\n".join(["```", *_commands(adaptation), "```"]))
    page.text(f"All transcripts: `{plan.folder(EVALUATE)}/hypotheses.tsv`; the division: `{plan.folder(DIVIDE)}`.")
    page.write(options.out / REPORT)
