"""What `wav2vec2 tune` minimises: the errors of a search as a function of its weights, and those without a search."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from wav2vec2.decode.build import RESCORED, OpenLM, rescoring_model
from wav2vec2.decode.greedy import greedy_decode
from wav2vec2.decode.hypothesis import Hypothesis, hypothesis_text, hypothesis_words
from wav2vec2.decode.presets import Preset
from wav2vec2.decode.search import Decoder, decode_in_pieces
from wav2vec2.evaluation.evaluate import scoring_form
from wav2vec2.inference.emissions import UtteranceEmissions
from wav2vec2.text.error_rate import ErrorCounts, character_errors, word_errors
from wav2vec2.text.normalize import is_spaceless_script
from wav2vec2.text.vocabulary import Vocabulary

Lists = Sequence[Sequence[Hypothesis]]
Objective = Callable[[float, float], ErrorCounts]


def normalizer(vocabulary: Vocabulary) -> Callable[[str], str]:
    """Return the form in which texts are compared."""
    written, fold = scoring_form(vocabulary, "auto", "auto"), vocabulary.scoring_fold or str
    return lambda text: fold(written(text))


def counted(references: Sequence[str]) -> Callable[[str, str], ErrorCounts]:
    """Return what counts errors: of words, or of characters where most texts have no spaces."""
    return character_errors if 2 * sum(map(is_spaceless_script, references)) > len(references) else word_errors


def search_errors(
    chosen: Preset,
    vocabulary: Vocabulary,
    utterances: Sequence[UtteranceEmissions],
    decoder: Decoder,
    open_lm: OpenLM,
) -> Objective:
    """Return the errors as a function of LM weight and word score."""
    errors = _against(vocabulary, utterances)
    emissions = [utterance.log_probs for utterance in utterances]

    if chosen.rescore is None:

        def searched(lm_weight: float, word_score: float) -> ErrorCounts:
            tried = replace(chosen.search, lm_weight=lm_weight, word_score=word_score, nbest=1)
            return errors(decode_in_pieces(decoder, vocabulary, emissions, tried))

        return searched

    from wav2vec2.decode.rescore import rescore

    kept = replace(chosen.search, nbest=max(chosen.search.nbest, RESCORED))
    lists = decode_in_pieces(decoder, vocabulary, emissions, kept)
    model = rescoring_model(chosen, open_lm)
    scored = rescore(lists, model, vocabulary, 1.0, 0.0, lm_case=chosen.lm_case, source=str(chosen.rescore))

    def rescored(lm_weight: float, word_score: float) -> ErrorCounts:
        def rank(reading: Hypothesis) -> float:
            words = len(hypothesis_words(vocabulary, reading))
            return reading.acoustic_score + lm_weight * reading.lm_score + word_score * words

        return errors([[max(readings, key=rank)] for readings in scored])

    return rescored


def greedy_errors(vocabulary: Vocabulary, utterances: Sequence[UtteranceEmissions]) -> ErrorCounts:
    """The errors of greedy decoding of the same utterances."""
    frames = [torch.as_tensor(utterance.log_probs)[None] for utterance in utterances]
    found = [greedy_decode(one, torch.tensor([one.shape[1]]), vocabulary.blank) for one in frames]
    return _against(vocabulary, utterances)(found)


def _against(vocabulary: Vocabulary, utterances: Sequence[UtteranceEmissions]) -> Callable[[Lists], ErrorCounts]:
    """Return what counts the errors of the first of each utterance's readings."""
    normalize = normalizer(vocabulary)
    references = [normalize(utterance.text) for utterance in utterances]
    count = counted(references)

    def errors(lists: Lists) -> ErrorCounts:
        texts = [normalize(hypothesis_text(vocabulary, readings[0])) for readings in lists]
        return sum((count(r, h) for r, h in zip(references, texts, strict=True)), ErrorCounts())

    return errors
