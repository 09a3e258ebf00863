"""The two edit costs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize import NLTKWordTokenizer

from learner import cost as cost_module
from learner.cost import cost, cost_max, paper_tokens, tokens

ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=60)  # lone surrogates included
SIMILAR = st.text("ab \n\t", max_size=12)


@given(ANY_TEXT)
def test_tokens_lose_nothing(text):
    assert "".join(tokens(text)) == text


@given(ANY_TEXT | SIMILAR, ANY_TEXT | SIMILAR)
def test_cost_max_is_zero_only_for_equal_texts(a, b):
    assert (cost_max(a, b) == 0) == (a == b)


@given(ANY_TEXT | SIMILAR, ANY_TEXT | SIMILAR)
def test_cost_max_is_symmetric_and_within_zero_and_one(a, b):
    assert 0 <= cost_max(a, b) <= 1
    assert cost_max(a, b) == cost_max(b, a)


@given(ANY_TEXT)
def test_an_unchanged_text_costs_nothing(text):
    assert cost_max(text, text) == 0


def test_the_papers_cost_by_hand():
    # 5 word tokens: The cat sat down . -> one replaced, two inserted
    assert paper_tokens("The cat sat down.") == ["The", "cat", "sat", "down", "."]
    assert cost("The cat sat down.", "The old cat sat down again now.") == 3 / 5
    assert cost("The cat sat down.", "The dog sat down.") == 1 / 5
    assert cost("Yes", "No, not at all") == 5  # it can exceed 1
    assert cost("Don't go", "Do go") == 1 / 3  # NLTK: Do n't go


PIECES = [
    "cannot",
    "Gonna ",
    "wanna",
    "naïve",
    "can",
    "not",
    "'s",
    "'ll",
    "n't",
    "gon",
    "na",
    "'tis",
    "d'",
    "ye",
    "'' ",
    "``",
    "more'n",
    "wan",
    "\ue000",
]
TROUBLE = st.lists(
    st.sampled_from([*"ab5.,:;'\"`()[]<>{}-*?!@#$%&\u2026\u2014\u00ab\u00bb\u201c \n\t\u00a0\x1c\r    ..\"'", *PIECES]),
    max_size=24,
).map("".join)


@given(TROUBLE | ANY_TEXT)
@settings(max_examples=1500, deadline=None)
def test_the_papers_tokens_are_those_of_nltk_at_once(text):
    assert paper_tokens(text) == NLTKWordTokenizer().tokenize(text)


def test_a_word_is_split_once(monkeypatch):
    seen = []
    whole = cost_module._split
    monkeypatch.setattr(cost_module, "_split", lambda text: seen.append(text) or whole(text))
    cost_module._pieces.cache_clear()
    words = ["Well", ",", "it", "ca", "n't", "be", ",", "it", "ca", "n't", "be", "."]
    assert paper_tokens("Well, it can't be, it can't be.") == words
    assert paper_tokens("Well, it can't be, it can't be now.") == [*words[:-1], "now", "."]
    assert paper_tokens("Well, it can't be, it can't be.") == words
    assert [text.count("can't") for text in seen] == [1, 0]


def test_what_is_remembered_of_words_is_bounded():
    for start in range(0, 3 * cost_module._REMEMBERED, 1000):
        paper_tokens(" ".join(f"word{i}" for i in range(start, start + 1000)) + " " + "x" * 99 + " end")
        assert len(cost_module._pieces()) <= cost_module._REMEMBERED + 1000
    assert "x" * 99 not in cost_module._pieces()


def test_the_papers_cost_of_everything_deleted_is_one():
    assert cost("The cat sat down.", "") == 1


@pytest.mark.parametrize("empty", ["", " ", "\n\t"])
def test_an_offer_without_a_token_has_no_paper_cost(empty):
    with pytest.raises(ValueError, match="no offer"):
        cost(empty, "kept")


REINDENTED = ("if a:\n    b()\nc()\n", "if a:\n    b()\n    c()\n")


def test_reindented_python_is_changed():
    assert cost(*REINDENTED) == 0  # the paper's tokens are blind to it
    assert 0 < cost_max(*REINDENTED) < 0.5


@pytest.mark.parametrize(
    ("offered", "kept"),
    [("a\nb", "a b"), ("a\r\nb", "a\nb"), ("a  b", "a b"), ("a ", "a"), ("a\u00a0b", "a b"), ("é", "e\u0301")],
)
def test_white_space_and_composition_count(offered, kept):
    assert cost_max(offered, kept) > 0


def test_chinese_counts_by_character():
    assert len(tokens("我喜欢写作。")) == 6
    assert cost_max("我喜欢写作。", "我爱写作。") == pytest.approx(2 / 6)
    assert cost("我喜欢写作。", "我爱写作。") == 1  # one word to the paper


def test_a_space_belongs_to_the_word_after_it():
    assert tokens("two words, ok") == ["two", " words", ",", " ok"]
    assert cost_max("one two three four", "one three four") == pytest.approx(1 / 4)


def test_cost_max_by_hand():
    assert cost_max("a b c d", "a x c d e") == pytest.approx(2 / 5)
    assert cost_max("", "a") == 1
    assert cost_max("", "") == 0
