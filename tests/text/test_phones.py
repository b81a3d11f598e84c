import pytest
from hypothesis import given
from hypothesis import strategies as st

from wav2vec2.errors import UserError
from wav2vec2.text.phones import PHONES_39, PHONES_48, PHONES_61, PhoneSet, fold_phones, fold_text, scoring_fold
from wav2vec2.text.vocabulary import Vocabulary

# Lee and Hon, table II: allophones within each group are one phone of the 39.
GROUPS = (
    "aa ao", "ah ax ax-h", "er axr", "hh hv", "ih ix", "l el", "m em", "n en nx", "ng eng", "sh zh", "uw ux",
    "pcl tcl kcl bcl dcl gcl h# pau epi",
)  # fmt: skip


def test_the_sets_have_their_sizes() -> None:
    assert [len(phones) for phones in (PHONES_61, PHONES_48, PHONES_39)] == [61, 48, 39]
    assert len(set(PHONES_61)) == 61


def test_the_groups_of_lee_and_hon_fold_together_and_nothing_else_does() -> None:
    for group in GROUPS:
        assert len(set(fold_phones(group.split()))) == 1, group
    grouped = {phone for group in GROUPS for phone in group.split()}
    alone = [phone for phone in PHONES_61 if phone not in grouped and phone != "q"]
    assert fold_phones(alone) == alone
    assert len(alone) + len(GROUPS) == 39


def test_48_keeps_closures_apart_by_voicing_and_the_glottal_stop_is_deleted() -> None:
    phones = "h# q bcl b tcl t epi ix zh el"
    assert " ".join(fold_phones(phones.split(), "48")) == "sil vcl b cl t epi ix zh el"
    assert fold_phones(["q"], "61") == ["q"]
    assert fold_phones(["q"]) == []


@given(st.lists(st.sampled_from(PHONES_61)))
def test_folding_in_two_steps_is_folding_in_one_and_twice_is_once(phones: list[str]) -> None:
    once = fold_phones(phones)
    assert fold_phones(fold_phones(phones, "48")) == once
    assert fold_phones(once) == once
    assert set(once) <= set(PHONES_39)
    assert fold_text(" ".join(phones)) == " ".join(once)


@pytest.mark.parametrize("to", ["39", "48", "61"])
def test_a_symbol_that_is_not_a_phone_is_named(to: PhoneSet) -> None:
    with pytest.raises(UserError, match="'xx' is not a TIMIT phone"):
        fold_phones(["aa", "xx"], to)


def test_only_the_symbols_of_timit_are_folded_for_scoring() -> None:
    for phones in (PHONES_61, PHONES_48):
        fold = scoring_fold(phones)
        assert fold is not None
        assert fold("zh q ⁇ ao") == "sh ⁇ aa"
    assert scoring_fold(PHONES_39) is None
    assert scoring_fold(["aa", "ae", "zh", "sh", "ao"]) is None  # could be any pronouncing dictionary's
    assert scoring_fold(["h#", "ʃ"]) is None
    letters = Vocabulary.from_transcripts(["q cl"], unit="characters")
    assert letters.scoring_fold is None
    assert Vocabulary.from_transcripts(["h# cl"], unit="whitespace").scoring_fold is fold_text
