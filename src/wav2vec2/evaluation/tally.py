"""Counting the errors of utterances one by one: two counts of each, and the texts of the worst, never logits."""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from wav2vec2.audio.recordings import Failure
from wav2vec2.data.utterance import Utterance
from wav2vec2.evaluation.calibration import Calibration
from wav2vec2.evaluation.scores import EvaluationReport, ScoredUtterance, total_score
from wav2vec2.model.architecture import Architecture
from wav2vec2.model.ctc import can_align
from wav2vec2.output.transcript import Transcript
from wav2vec2.text.error_rate import ErrorCounts, character_errors, word_errors
from wav2vec2.text.normalize import is_spaceless_script, normalize_text
from wav2vec2.text.vocabulary import Vocabulary


@dataclass
class Unscored:
    """Utterances that could not be scored: how many have no reference, and those whose audio could not be read."""

    untranscribed: int = 0
    failures: list[Failure] = field(default_factory=list)


class Evaluation:
    """Scores utterances one by one and makes the report; keeps two counts of each, and the texts of the `worst`.

    normalize: applied to both texts. fold: applied after it, to both texts, before they are compared.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        architecture: Architecture,
        normalize: Callable[[str], str],
        fold: Callable[[str], str],
        *,
        worst: int,
    ) -> None:
        self._vocabulary, self._architecture = vocabulary, architecture
        self._normalize, self._fold = normalize, fold
        self._worst_size = worst
        self._worst: list[tuple[float, int, str, int, ScoredUtterance]] = []
        self._words: list[ErrorCounts] = []
        self._characters: list[ErrorCounts] = []
        self._spaceless = 0
        self._seconds = 0.0
        self._unalignable: list[str] = []
        self._unknown: Counter[str] = Counter()
        self._calibration = Calibration()
        self._of_case = self._of_punctuation = 0

    def add(self, utterance: Utterance, transcript: Transcript) -> ScoredUtterance:
        """Score one utterance; it must have a reference."""
        written = self._normalize(utterance.text or "")
        reference, hypothesis = self._fold(written), self._fold(self._normalize(transcript.text))
        scored = ScoredUtterance(
            utterance.id,
            reference,
            hypothesis,
            word_errors(reference, hypothesis),
            character_errors(reference, hypothesis),
        )
        self._words.append(scored.words)
        self._characters.append(scored.characters)
        self._seconds += transcript.seconds
        self._calibration.add(reference, transcript.words, lambda text: self._fold(self._normalize(text)))
        self._unknown += self._vocabulary.unknown_symbols(written)
        if not can_align(self._architecture.frame_length(utterance.samples), self._vocabulary.encode(written)):
            self._unalignable.append(utterance.id)
        self._count_form(scored)
        spaceless = is_spaceless_script(reference)
        self._spaceless += spaceless
        counts = scored.characters if spaceless else scored.words
        if counts.errors:
            heapq.heappush(self._worst, (counts.rate, counts.errors, utterance.id, len(self._words), scored))
        if len(self._worst) > self._worst_size:
            heapq.heappop(self._worst)
        return scored

    def _count_form(self, scored: ScoredUtterance) -> None:
        """Count the word errors that would vanish if neither text had capitals, and then if neither had punctuation."""
        if not scored.words.errors or self._vocabulary.unit == "whitespace":
            return
        texts = scored.reference, scored.hypothesis
        small = word_errors(*(normalize_text(text, case="lower") for text in texts)).errors
        bare = word_errors(*(normalize_text(text, case="lower", punctuation="remove") for text in texts)).errors
        self._of_case += scored.words.errors - small
        self._of_punctuation += max(0, small - bare)

    def report(self, unscored: Unscored, *, replications: int, seed: int) -> EvaluationReport:
        """Report on the utterances scored so far, with bootstrap intervals over utterances."""
        phones = self._vocabulary.unit == "whitespace"
        return EvaluationReport(
            utterances=len(self._words),
            seconds=self._seconds,
            main="per" if phones else "cer" if 2 * self._spaceless > len(self._words) else "wer",
            wer=total_score(self._words, replications, seed),
            cer=total_score(self._characters, replications, seed),
            worst=tuple(entry[-1] for entry in sorted(self._worst, key=lambda entry: entry[:4], reverse=True)),
            unalignable=tuple(self._unalignable),
            unknown=dict(self._unknown.most_common()),
            untranscribed=unscored.untranscribed,
            failures=tuple(unscored.failures),
            folded=self._fold is not str,
            of_case=self._of_case,
            of_punctuation=self._of_punctuation,
            reliability=self._calibration.reliability(),
        )
