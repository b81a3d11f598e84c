"""The options that most runs of a command set: its help page begins with them. A row is for a command, or for a group.

What a command lacks is passed over, so that a row serves all commands of a group. Commands with ten
options or fewer need none: theirs stay in the order of the code.
"""

_TRAINING = "data.manifest data.text init output train.updates batch.seconds batch.tokens train.lr train.precision"
"""Input, output, length of the training, and what decides whether it fits and succeeds."""
_SOURCE = (
    "out language text text-column path-column audio-column audio-root tables size labels subsets training "
    "transcription microphone speaker download segment valid-percent"
)
COMMON = {
    "adapt": "from transcripts out text language hours self-training dry-run",
    "prepare *": _SOURCE,
    "prepare shards": "",
    "pretrain": _TRAINING,
    "finetune": _TRAINING,
    "lm transformer": _TRAINING,
    "benchmark": "task seconds batch device precision",
    "lm ngram": "out order symbols lexicon prune",
    "transcribe": "model language out format lm preset hotwords watch device",
    "listen": "model language delay format lm preset hotwords",
    "serve": "model language host port keys lm preset hotwords device",
    "align": "model language out format device",
    "evaluate": "split lm preset language out hypotheses worst device",
    "tune": "lm split out trials decoder language device",
    "pseudo-label": "out preset lm check add best-share min-confidence split language device",
    "features": "out layer format split language device",
    "units": "out format merge device",
    "export": "to int8 check language",
    "experiment *": "speech timit manifest lm-text limited out scale labels amounts variants dry-run table",
    "report codes": "out align split phones language device",
}


def common_options(command: str) -> tuple[str, ...]:
    """Return names without dashes, the most important first; empty for a command with few options."""
    group = f"{command.partition(' ')[0]} *"
    return tuple((COMMON[command] if command in COMMON else COMMON.get(group, "")).split())
