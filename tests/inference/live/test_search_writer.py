"""Live recognition with a search: words are those of the search of the whole, and the language model goes on."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from wav2vec2.decode.context import Context
from wav2vec2.decode.hypothesis import Emissions, Hypothesis, hypothesis_text
from wav2vec2.decode.prefix.decoder import PrefixDecoder
from wav2vec2.decode.search import SearchOptions
from wav2vec2.inference.live.writer import GreedyWriter, SearchWriter, Writer
from wav2vec2.model.architecture import Architecture
from wav2vec2.text.vocabulary import Vocabulary

WORDS = Vocabulary.from_transcripts(["THE QUICK FOX"])
PHONES = Vocabulary.from_transcripts(["a b c"], unit="whitespace")
OPTIONS = SearchOptions(beam=8, word_score=0.0)


def emissions(vocabulary: Vocabulary, text: str, seed: int, sure: float) -> torch.Tensor:
    """Log-probabilities of frames that spell a text: each symbol for two frames, then a blank."""
    path = [index for symbol in vocabulary.encode(text) for index in (symbol, symbol, vocabulary.blank)]
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(path), len(vocabulary), generator=generator)
    logits[torch.arange(len(path)), path] += sure
    return logits.log_softmax(-1)


def in_chunks(writer: Writer, log_probs: torch.Tensor, chunk: int, ahead: int) -> list[str]:
    """Write frames as a session does, each time with `ahead` frames that are not committed yet."""
    numbers, done, words = np.arange(len(log_probs)), 0, []
    for until in range(chunk, len(log_probs), chunk):
        end = min(until + ahead, len(log_probs))
        committed, tentative = writer.advance([(numbers[done:end], log_probs[done:end])], until)
        words += committed
        assert all(word.end <= (end + 1) * 0.02 for word in tentative)
        done = until
    words += writer.finish([(numbers[done:], log_probs[done:])])
    starts = [word.start for word in words]
    assert starts == sorted(starts)
    assert all(a.end <= b.start + 0.02 for a, b in itertools.pairwise(words))
    return [word.text for word in words]


@pytest.mark.parametrize("vocabulary", [WORDS, PHONES], ids=["words", "phones"])
@pytest.mark.parametrize("chunk", [3, 13])
def test_chunks_change_no_word_where_the_model_is_sure(vocabulary: Vocabulary, chunk: int) -> None:
    text = "a b b c a" if vocabulary is PHONES else "THE FOX THE QUICK QUICK FOX"
    log_probs = emissions(vocabulary, text, 0, 12.0)
    greedy = GreedyWriter(vocabulary, Architecture())
    with PrefixDecoder(vocabulary, threads=1) as decoder:
        search = SearchWriter(decoder, OPTIONS, vocabulary, Architecture())
        for writer in (greedy, search):
            for _ in range(2):  # another utterance begins as the first did
                assert in_chunks(writer, log_probs, chunk, 6) == text.split()


def test_a_search_that_sees_far_ahead_writes_what_it_writes_of_the_whole() -> None:
    with PrefixDecoder(WORDS, words=["THE", "QUICK", "FOX"], threads=1) as decoder:
        for seed in range(5):
            log_probs = emissions(WORDS, "THE QUICK FOX THE FOX", seed, 3.0)
            whole = decoder.decode([log_probs.numpy()], OPTIONS)[0][0]
            writer = SearchWriter(decoder, OPTIONS, WORDS, Architecture())
            assert in_chunks(writer, log_probs, 10, 1000) == hypothesis_text(WORDS, whole).split()


class Recorder:
    """A decoder that keeps the contexts that it is given."""

    def __init__(self, decoder: PrefixDecoder) -> None:
        self.decoder, self.contexts = decoder, list[Context]()

    def decode(
        self, emissions: Sequence[Emissions], options: SearchOptions, contexts: Sequence[Context] | None = None
    ) -> list[list[Hypothesis]]:
        self.contexts += contexts or ()
        return self.decoder.decode(emissions, options, contexts)

    def close(self) -> None:
        self.decoder.close()


def test_the_language_model_goes_on_from_the_committed_words_and_ends_with_the_utterance() -> None:
    log_probs = emissions(WORDS, "THE QUICK FOX THE FOX", 0, 12.0)
    with PrefixDecoder(WORDS, threads=1) as decoder:
        recorder = Recorder(decoder)
        in_chunks(SearchWriter(recorder, OPTIONS, WORDS, Architecture()), log_probs, 10, 6)
    said = [context.words for context in recorder.contexts]
    assert said == sorted(said, key=len)
    assert said[0] == ()
    assert said[-1][:3] == ("THE", "QUICK", "FOX")
    assert [context.goes_on for context in recorder.contexts] == [True] * (len(said) - 1) + [False]


@dataclass
class Partial:
    """A decoder that finds the end of a sentence unlikely, and its beginning likely, by so many nats."""

    decoder: PrefixDecoder
    end: float
    begin: float
    before: list[tuple[str, ...]] = field(default_factory=list)

    def decode(
        self, emissions: Sequence[Emissions], options: SearchOptions, contexts: Sequence[Context] | None = None
    ) -> list[list[Hypothesis]]:
        assert contexts is not None
        self.before.append(contexts[0].words)
        extra = (0.0 if contexts[0].goes_on else self.end) + (0.0 if contexts[0].words else self.begin)
        lists = self.decoder.decode(emissions, options, contexts)
        return [[replace(one, score=one.score + extra) for one in nbest] for nbest in lists]

    def close(self) -> None:
        self.decoder.close()


@pytest.mark.parametrize(("begin", "after"), [(5.0, ("FOX",)), (1.0, ("THE", "QUICK", "FOX"))])
def test_what_follows_a_pause_goes_on_or_begins_as_is_likelier(begin: float, after: tuple[str, ...]) -> None:
    first, second = (emissions(WORDS, text, 0, 12.0) for text in ("THE QUICK", "FOX THE"))
    with PrefixDecoder(WORDS, threads=1) as decoder:
        partial = Partial(decoder, -3.0, begin)
        writer = SearchWriter(partial, OPTIONS, WORDS, Architecture())
        assert [word.text for word in writer.finish([(np.arange(len(first)), first)], goes_on=True)] == ["THE", "QUICK"]
        numbers = 100 + np.arange(len(second))
        words, _ = writer.advance([(numbers, second)], 112)
        assert [word.text for word in words] == ["FOX"]
        assert sorted(partial.before[-2:]) == [(), ("THE", "QUICK")]
        assert [word.text for word in writer.finish([(numbers[12:], second[12:])])] == ["THE"]
        assert partial.before[-1] == after


def test_a_pause_ends_a_word() -> None:
    first, second = (emissions(WORDS, text, 0, 12.0) for text in ("QUI", "CK FOX"))
    parts = [(np.arange(len(first)), first), (100 + np.arange(len(second)), second)]
    with PrefixDecoder(WORDS, threads=1) as decoder:
        for writer in (
            GreedyWriter(WORDS, Architecture()),
            SearchWriter(decoder, OPTIONS, WORDS, Architecture()),
        ):
            committed, tentative = writer.advance(parts, 50)
            assert [word.text for word in committed] == ["QUI"]
            assert [word.text for word in tentative] == ["CK", "FOX"]
            assert [word.text for word in writer.finish(parts[1:])] == ["CK", "FOX"]


def test_frames_in_which_every_word_is_forbidden_say_nothing() -> None:
    log_probs = torch.full((9, len(WORDS)), -math.inf)
    log_probs[:, WORDS.encode("X")[0]] = 0.0
    with PrefixDecoder(WORDS, words=["THE"], threads=1) as decoder:
        writer = SearchWriter(decoder, OPTIONS, WORDS, Architecture())
        assert in_chunks(writer, log_probs, 3, 3) == []
