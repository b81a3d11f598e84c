"""The summary that `prepare` prints: utterances, hours, speakers and words of each split, and what was rejected."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.utterance import Rejection
from wav2vec2.progress import counted

EXAMPLES = 3
"""Messages that are printed of each kind of rejection, and names of utterances in a note."""


@dataclass
class SplitCount:
    """Totals of one split. `samples` are counted at 16 kHz; `labelled` are those with a transcript."""

    utterances: int = 0
    samples: int = 0
    labelled: int = 0
    words: int = 0
    untranscribed: int = 0
    speakers: set[str] = field(default_factory=set)


@dataclass
class Summary:
    """Totals by split, added up batch by batch so that memory does not grow with the corpus."""

    splits: dict[str, SplitCount] = field(default_factory=dict)
    without_text: list[str] = field(default_factory=list)
    """The first utterances without a transcript."""

    def add(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch of the manifest."""
        for name in pc.unique(batch.column("split")).to_pylist():
            rows = batch.filter(pc.equal(batch.column("split"), name))
            count = self.splits.setdefault(name, SplitCount())
            count.utterances += rows.num_rows
            count.samples += pc.sum(rows.column("samples")).as_py()
            texts = rows.filter(pc.is_valid(rows.column("text")))
            count.untranscribed += rows.num_rows - texts.num_rows
            if len(self.without_text) < EXAMPLES:
                bare = rows.filter(pc.is_null(rows.column("text"))).column("id")
                self.without_text += bare.slice(0, EXAMPLES - len(self.without_text)).to_pylist()
            count.labelled += pc.sum(texts.column("samples")).as_py() or 0
            words = pc.list_value_length(pc.utf8_split_whitespace(texts.column("text")))
            count.words += pc.sum(words).as_py() or 0
            count.speakers |= set(pc.unique(rows.column("speaker")).to_pylist()) - {""}

    def lines(self) -> list[str]:
        """Return the table as lines of text, then notes if some transcripts are empty, or splits share speakers."""
        lines = [f"{'split':<16}{'utterances':>12}{'hours':>10}{'labelled h':>12}{'speakers':>10}{'words':>12}"]
        for name, count in sorted(self.splits.items()):
            hours, labelled = (samples / SAMPLE_RATE / 3600 for samples in (count.samples, count.labelled))
            lines.append(
                f"{name:<16}{count.utterances:>12,}{hours:>10.2f}{labelled:>12.2f}"
                f"{len(count.speakers) or 'unknown':>10}{count.words:>12,}"
            )
        empty = sum(count.untranscribed for count in self.splits.values())
        if empty and any(count.labelled for count in self.splits.values()):
            names = ", ".join(self.without_text)
            lines.append(f"note: {counted(empty, 'utterance')} without a transcript, such as {names}")
        homes = Counter(speaker for count in self.splits.values() for speaker in count.speakers)
        if shared := sorted(speaker for speaker, number in homes.items() if number > 1):
            lines.append(f"note: speakers in more than one split of the source: {len(shared)}, such as {shared[0]}")
        return lines


def rejection_lines(rejected: Sequence[Rejection], files: int, where: str) -> list[str]:
    """Return the number of rejections of each kind, the commonest first, with three examples of it."""
    if not rejected:
        return [f"rejected: none of {files:,} files"]
    lines = [f"rejected: {len(rejected):,} (of {files:,} files), all in {where}"]
    for reason, number in Counter(rejection.reason for rejection in rejected).most_common():
        lines.append(f"{number:>8,}  {reason}")
        examples = islice((one.message for one in rejected if one.reason == reason), EXAMPLES)
        lines += [f"          {message}" for message in examples]
    return lines
