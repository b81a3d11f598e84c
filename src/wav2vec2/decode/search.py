"""A whole way from emissions to readings: greedy, or a search, and perhaps a second ranking of its n-best list."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wav2vec2.decode.confidence import word_confidences
from wav2vec2.decode.hypothesis import Decoder, Emissions, Hypothesis
from wav2vec2.decode.pieces import decode_in_pieces
from wav2vec2.decode.words import word_frames
from wav2vec2.errors import UserError
from wav2vec2.lm.language_model import LanguageModel
from wav2vec2.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Rescorer:
    """A language model that ranks n-best lists anew, in place of the one of the search."""

    lm: LanguageModel
    lm_weight: float
    word_score: float

    def __call__(self, lists: Sequence[Sequence[Hypothesis]], vocabulary: Vocabulary) -> list[list[Hypothesis]]:
        """Rank every list by acoustic score, this model and the word score, with confidences of the new ranking."""
        from wav2vec2.decode.rescore import rescore

        ranked = []
        for readings in rescore(lists, self.lm, vocabulary, self.lm_weight, self.word_score):
            spans = [word_frames(vocabulary, reading) for reading in readings]
            shares = word_confidences(spans, [reading.score for reading in readings], shown=len(readings))
            ranked.append([replace(r, word_confidences=s) for r, s in zip(readings, shares, strict=True)])
        return ranked


@dataclass(frozen=True)
class Search:
    """decoder None is greedy decoding. nbest: readings that the user sees; the decoder may keep more to be rescored."""

    title: str
    decoder: Decoder | None = None
    rescorer: Rescorer | None = None
    nbest: int = 1

    def close(self) -> None:
        """End what the decoder started."""
        if self.decoder is not None:
            self.decoder.close()


GREEDY = Search("no LM")


def run_searches(
    searches: Sequence[Search], vocabulary: Vocabulary, emissions: Sequence[Emissions]
) -> list[list[list[Hypothesis]]]:
    """For every search its n-best list of every utterance; a decoder that several searches share decodes once.

    Raises UserError for a greedy search, which needs no emissions.
    """
    lists: dict[int, list[list[Hypothesis]]] = {}
    results = []
    for search in searches:
        if search.decoder is None:
            raise UserError("greedy decoding takes the best path of the frames, not a search")
        key = id(search.decoder)
        if key not in lists:
            lists[key] = decode_in_pieces(search.decoder, vocabulary, emissions)
        found = lists[key] if search.rescorer is None else search.rescorer(lists[key], vocabulary)
        results.append([readings[: search.nbest] for readings in found])
    return results
