"""``wav2vec2 adapt``: a recogniser for your language from a published encoder, by stages that resume."""

import time

from wav2vec2.adapt.card import rate_table
from wav2vec2.adapt.options import AdaptOptions
from wav2vec2.adapt.plan import CHOOSE, DIVIDE, Adaptation, make_plan
from wav2vec2.adapt.plateau import SMALL_PARAMETERS, plateau
from wav2vec2.adapt.publish import PRESET, publish
from wav2vec2.adapt.spelling import spelling
from wav2vec2.checkpoints.info import model_lines
from wav2vec2.pipeline.engine import Engine


def run(options: AdaptOptions) -> None:
    """Run the stages that are not done, then write the folder of the result.

    Raises:
        UserError: an option or a file is wrong, or a stage failed.
        KeyboardInterrupt: after Ctrl-C; the same command goes on.
    """
    began = time.monotonic()
    adaptation = make_plan(options)
    print("\n".join(adaptation.sources.why))
    if news := adaptation.news():
        when = "will be prepared" if options.dry_run else "now prepared"
        print(f"{options.recordings}: {news} since: {when}, and what follows is done again; the earlier results stay")
    if options.dry_run:
        _show(options, adaptation)
        return
    try:
        if not adaptation.plan.done(CHOOSE):
            _say_encoder(options)
            _engine(options, adaptation, began).run(adaptation.plan.needed([CHOOSE]))
            adaptation.remember()
            adaptation = make_plan(options, adaptation.sources)  # what has come meanwhile is for the next time
        else:
            print("\n".join((*adaptation.plan.values(DIVIDE)["lines"], *adaptation.chosen()["lines"])))
        left = adaptation.plan.needed(adaptation.goals)
        print("\n".join(spelling(options, adaptation)) if left else "")
        print(f"{len(left)} of {len(adaptation.plan.stages)} stages to do in {adaptation.plan.root}", flush=True)
        while labels := adaptation.next_labels:
            _engine(options, adaptation, began).run(adaptation.plan.needed([labels]))
            adaptation = make_plan(options, adaptation.sources)
        if adaptation.fruitless:
            print(f"{adaptation.fruitless}: no label was good enough, so the recogniser stays as it is", flush=True)
        _engine(options, adaptation, began).run(adaptation.plan.needed(adaptation.goals))
        adaptation.remember()
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where it was", flush=True)
        raise
    outcome = publish(options, adaptation, anew=bool(left))
    print("\n" + "\n".join(rate_table(outcome.rates)))
    if failed := outcome.failure(options.source):
        print(f"\n{failed}")
    used = f"{options.out / PRESET}: {outcome.best}" if outcome.with_lm else "greedy decoding: the n-gram does not help"
    print(f"\nrecogniser: {options.out} ({used})\nreport: {options.out / 'report' / 'report.html'}")
    print(f"try: wav2vec2 transcribe FILE --model {options.out}")


def _engine(options: AdaptOptions, adaptation: Adaptation, began: float) -> Engine:
    """An engine that stops when all of the minutes since `began` (of `time.monotonic`) have passed."""
    left = max(0.01, options.minutes - (time.monotonic() - began) / 60)
    return Engine(adaptation.plan, options.launch, left if options.minutes else 0.0)


def _say_encoder(options: AdaptOptions) -> None:
    """Say what the encoder is. Raises UserError, before recordings are prepared, for one that cannot be used."""
    if not options.from_nothing:
        lines = model_lines(options.source)
        about = [f"{lines['parameters']} parameters"] if "parameters" in lines else []
        about += [f"{name} {lines[name]}" for name in ("download", "licence") if name in lines]
        print(f"encoder: {lines['model']}: {', '.join((lines['kind'], *about))}", flush=True)


def _show(options: AdaptOptions, adaptation: Adaptation) -> None:
    if not adaptation.chosen():
        guess = plateau(SMALL_PARAMETERS - options.from_nothing, options.way)
        if options.updates and (warning := guess.warning(options.updates, given=True)):
            print(warning)
        print("what is in <angle brackets> is chosen from the hours of speech, once the first stages have run")
    print("\n".join((*adaptation.chosen().get("lines", ()), *adaptation.plan.lines())))
