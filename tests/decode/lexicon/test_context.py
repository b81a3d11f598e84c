"""flashlight's search from the middle of a recording, against trying everything."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.decode.lexicon.cases import VOCABULARY, bigram_nats, emissions, lexicon, path_sums, write_arpa
from tests.decode.lexicon.test_decoder import WIDE, BigramModel, texts

from wav2vec2.decode.context import Context
from wav2vec2.decode.lexicon.decoder import LexiconDecoder

pytest.importorskip("flashlight.lib.text.decoder")


@pytest.mark.parametrize("before", [(), ("A",), ("BB",), ("CAB", "AB")])
@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("python", [False, True])
def test_begins_where_the_piece_before_left_the_language_model(
    tmp_path: Path, before: tuple[str, ...], goes_on: bool, python: bool
) -> None:
    array, model = emissions(6, 5), BigramModel()
    options = replace(WIDE, silence_score=-0.3)
    start = bigram_nats(before) - model._end(before[-1] if before else None)

    def language(words: tuple[str, ...]) -> float:
        every = (*before, *words)
        end = model._end(every[-1] if every else None) if goes_on else 0.0
        return bigram_nats(every) - start - end

    decoder = LexiconDecoder(VOCABULARY, lexicon(), model if python else write_arpa(tmp_path), workers=0)
    context = Context(before, (), goes_on)
    found = decoder.decode([array], options, [context])[0]
    for hypothesis, words in zip(found, texts(found), strict=True):
        assert hypothesis.lm_score == pytest.approx(language(words), abs=1e-4)
        silences = (hypothesis.score - hypothesis.acoustic_score - 0.8 * hypothesis.lm_score - 0.6 * len(words)) / -0.3
        assert silences == pytest.approx(round(silences), abs=2e-3)
    plain = decoder.decode([array], replace(options, silence_score=0.0), [context])[0]
    scored = [
        (sums["max"] + 0.8 * language(words) + 0.6 * len(words), words) for words, sums in path_sums(array).items()
    ]
    scored.sort(reverse=True)
    assert texts(plain)[:5] == [words for _, words in scored[:5]]
    assert [one.score for one in plain[:20]] == pytest.approx([score for score, _ in scored[:20]], abs=5e-4)


def test_workers_and_words_outside_the_lexicon(tmp_path: Path) -> None:
    arrays, arpa = [emissions(20, seed) for seed in range(3)], write_arpa(tmp_path)
    contexts = [Context(("A", "ZEBRA", "AB"), (), True), Context(("ZEBRA",)), Context(("AB",), (), True)]
    options = replace(WIDE, beam=50, nbest=3)
    alone = LexiconDecoder(VOCABULARY, lexicon(), arpa, workers=0)
    with LexiconDecoder(VOCABULARY, lexicon(), arpa, workers=1) as other:
        found = other.decode(arrays, options, contexts)
    assert found == alone.decode(arrays, options, contexts)
    assert found[1] == alone.decode(arrays[1:2], options)[0]
