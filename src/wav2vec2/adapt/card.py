"""The model card: README.md with the header that the Hugging Face hub reads (its documentation, "Model Cards")."""

import json
from collections.abc import Mapping

from wav2vec2.adapt.outcome import Outcome, Rate

_NAMES = {"wer": "Test WER", "cer": "Test CER", "per": "Test PER"}


def model_card(
    name: str, source: str, licence: str, outcome: Outcome, *, text: str, commands: tuple[str, ...], data: str
) -> str:
    """Return the card.

    Args:
        name: of the model.
        source: the encoder that it starts from; "scratch": none.
        licence: of the encoder.
        outcome: error rates and hours.
        text: what the language model was estimated from.
        commands: the commands of the stages.
        data: a name for the recordings.
    """
    language = str(outcome.divided.get("language", ""))
    return "\n".join(
        [
            *_header(name, source, licence, outcome, language, data),
            "",
            *_body(name, source, licence, outcome, text, commands, language),
        ]
    )


def _header(name: str, source: str, licence: str, outcome: Outcome, language: str, data: str) -> list[str]:
    lines = ["---"]
    lines += [f"language: {_scalar(language)}"] if language else []
    lines += [f"license: {_scalar(licence)}"]
    lines += [f"base_model: {_scalar(source)}"] if _is_id(source) else []
    lines += ["library_name: wav2vec2", "pipeline_tag: automatic-speech-recognition", "tags:"]
    lines += [f"- {tag}" for tag in ("audio", "automatic-speech-recognition", "speech", "wav2vec2", "ctc")]
    lines += ["metrics:", *(f"- {score}" for score in outcome.tested() if score != "per")]
    lines += ["model-index:", f"- name: {_scalar(name)}", "  results:", "  - task:"]
    lines += ["      type: automatic-speech-recognition", "      name: Automatic Speech Recognition", "    dataset:"]
    lines += [f"      name: {_scalar(data)}", f"      type: {_scalar(data)}", "      split: test", "    metrics:"]
    for score, rate in outcome.tested().items():
        lines += [f"    - type: {score}", f"      value: {100 * rate.rate:.2f}", f"      name: {_NAMES[score]}"]
    return [*lines, "---"]


def _is_id(source: str) -> bool:
    return source.count("/") == 1 and not source.startswith(("/", ".", "~"))


def _scalar(text: str) -> str:
    """A text as YAML takes it: JSON's strings are YAML's, too."""
    return (
        text
        if text.replace("-", "").replace(".", "").isalnum() and text.isascii() and not _special(text)
        else json.dumps(text, ensure_ascii=False)
    )


def _special(text: str) -> bool:
    return (
        text.lower() in ("no", "yes", "on", "off", "true", "false", "null", "y", "n")
        or text[0] in "-."
        or text[0].isdigit()
    )


def _body(
    name: str, source: str, licence: str, outcome: Outcome, text: str, commands: tuple[str, ...], language: str
) -> list[str]:
    new = source == "scratch"
    start = "a small encoder, pre-trained on these recordings alone" if new else f"`{source}` (licence: {licence})"
    failed = outcome.failure(source)
    hours = {part: f"{outcome.minutes(part):.1f} min" for part in ("train", "valid", "test", "untranscribed")}
    lines = [
        f"# {name}",
        "",
        f"Speech recognition{f' (language `{language}`)' if language else ''}, from {start}. Made by `wav2vec2 adapt`.",
        "",
        *((f"**{failed}**", "") if failed else ()),
        "## Use",
        "",
        "    wav2vec2 transcribe recording.mp3 --model THIS_FOLDER",
        "",
        "`model` is a model directory of `transformers` (`Wav2Vec2ForCTC`)."
        + (" `preset.toml` beside it sets the search with the language model." if outcome.with_lm else ""),
        "",
        "## Error rates",
        "",
        "On speakers that were not trained on, in per cent, with 95 % intervals (bootstrap over utterances).",
        "",
        *rate_table(outcome.rates),
        "",
        _lm_sentence(outcome),
        "",
        "## Data",
        "",
        f"Transcribed: {hours['train']} to train on, {hours['valid']} to choose by, {hours['test']} to test on. "
        f"Untranscribed: {hours['untranscribed']}. Language model: a 4-gram of {text}.",
        "",
        "Check that you may pass on a model made from these recordings; the licence above is that of the encoder.",
        "",
        "## How it was made",
        "",
        *(f"- {line}" for line in outcome.chosen.get("lines", ())),
        *(kept_line(kept) for kept in outcome.kept.values()),
        "",
        *(f"    {command}" for command in commands),
        "",
    ]
    return lines


def kept_line(kept: Mapping[str, object]) -> str:
    """Which of several fine-tunings was kept."""
    shown = kept.get("shown")
    each = ", ".join(f"{run}: {score}" for run, score in shown.items()) if isinstance(shown, dict) else ""
    return f"- kept: {kept.get('kept')} (held-out speakers: {each})"


def rate_table(rates: Mapping[str, Mapping[str, Mapping[str, Rate]]]) -> list[str]:
    """Error rates as a Markdown table."""
    columns = list(next(iter(rates.values())))
    lines = ["| | | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for split, row in rates.items():
        for score in row[columns[0]]:
            cells = " | ".join(row[column][score].text() for column in columns)
            lines.append(f"| {split} | {score.upper()} | {cells} |")
    return lines


def _lm_sentence(outcome: Outcome) -> str:
    if outcome.with_lm:
        return f"The language model ({outcome.best}) is used, because it helps on the speakers of valid."
    return "The language model is not used, because it does not help on the speakers of valid; `lm.arpa` is there."
