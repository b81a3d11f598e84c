"""The summary that `prepare` prints: utterances, hours, speakers and words of each split, and what was rejected."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from wav2vec2.audio.read import SAMPLE_RATE
from wav2vec2.data.utterance import Rejection

SHOWN_REJECTIONS = 20


@dataclass
class SplitCount:
    """Totals of one split. `samples` are counted at 16 kHz; `labelled` are those with a transcript."""

    utterances: int = 0
    samples: int = 0
    labelled: int = 0
    words: int = 0
    speakers: set[str] = field(default_factory=set)


@dataclass
class Summary:
    """Totals by split, added up batch by batch so that memory does not grow with the corpus."""

    splits: dict[str, SplitCount] = field(default_factory=dict)

    def add(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch of the manifest."""
        for name in pc.unique(batch.column("split")).to_pylist():
            rows = batch.filter(pc.equal(batch.column("split"), name))
            count = self.splits.setdefault(name, SplitCount())
            count.utterances += rows.num_rows
            count.samples += pc.sum(rows.column("samples")).as_py()
            texts = rows.filter(pc.is_valid(rows.column("text")))
            count.labelled += pc.sum(texts.column("samples")).as_py() or 0
            words = pc.list_value_length(pc.utf8_split_whitespace(texts.column("text")))
            count.words += pc.sum(words).as_py() or 0
            count.speakers |= set(pc.unique(rows.column("speaker")).to_pylist()) - {""}

    def lines(self) -> list[str]:
        """Return the table as lines of text, then a note if splits share speakers."""
        lines = [f"{'split':<16}{'utterances':>12}{'hours':>10}{'labelled h':>12}{'speakers':>10}{'words':>12}"]
        for name, count in sorted(self.splits.items()):
            hours, labelled = (samples / SAMPLE_RATE / 3600 for samples in (count.samples, count.labelled))
            lines.append(
                f"{name:<16}{count.utterances:>12,}{hours:>10.2f}{labelled:>12.2f}"
                f"{len(count.speakers) or 'unknown':>10}{count.words:>12,}"
            )
        homes = Counter(speaker for count in self.splits.values() for speaker in count.speakers)
        if shared := sorted(speaker for speaker, number in homes.items() if number > 1):
            lines.append(f"note: speakers in more than one split of the source: {len(shared)}, such as {shared[0]}")
        return lines


def rejection_lines(rejected: Sequence[Rejection], files: int, where: str) -> list[str]:
    """Return the number of rejections by reason, and the first messages in full."""
    if not rejected:
        return [f"rejected: none of {files:,} files"]
    lines = [f"rejected: {len(rejected):,} (of {files:,} files), all in {where}"]
    reasons = Counter(rejection.reason for rejection in rejected)
    lines += [f"{number:>8,}  {reason}" for reason, number in sorted(reasons.items(), key=lambda item: -item[1])]
    lines += [f"  {rejection.message}" for rejection in rejected[:SHOWN_REJECTIONS]]
    if len(rejected) > SHOWN_REJECTIONS:
        lines.append(f"  ... and {len(rejected) - SHOWN_REJECTIONS:,} more")
    return lines
