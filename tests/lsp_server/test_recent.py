"""Answers of a moment ago: found by the text before the cursor, going back and typing on."""

from hypothesis import given
from hypothesis import strategies as st
from sample_offers import offer

from lsp_server.offers import Place, again, completion
from lsp_server.recent import MOST, Recent

PLACE = Place("u", "text", "w", 7, (1, 2, 1, 2))


def test_the_same_text_and_the_beginning_of_the_answer() -> None:
    recent = Recent()
    made = offer("the tide")
    recent.keep("We wait for ", made)
    assert recent.find("We wait for ") == (made, 0)
    assert recent.find("We wait for the ") == (made, 4)
    assert recent.find("We wait for the tid") == (made, 7)


def test_nothing_is_left_or_something_else_was_typed() -> None:
    recent = Recent()
    recent.keep("We wait for ", offer("the tide"))
    for before in ("We wait for the tide", "We wait for them", "We wait for", "", "x We wait for "):
        assert recent.find(before) is None


def test_the_newest_that_fits() -> None:
    recent = Recent()
    old, new = offer("the tide", "old"), offer("tide to turn", "new")
    recent.keep("We wait for ", old)
    recent.keep("We wait for the ", new)
    assert recent.find("We wait for the ") == (new, 0)
    assert recent.find("We wait for t") == (old, 1)


def test_old_answers_go() -> None:
    recent = Recent()
    for number in range(MOST + 1):
        recent.keep(f"{number}:", offer("x"))
    assert recent.find("0:") is None
    assert recent.find("1:") is not None


@given(st.text(max_size=5), st.text(min_size=1, max_size=8), st.text(max_size=8))
def test_what_is_found_goes_on_from_what_stands(before: str, answer: str, typed: str) -> None:
    recent = Recent()
    recent.keep(before, offer(answer))
    found = recent.find(before + typed)
    assert (found is not None) == (answer.startswith(typed) and answer != typed)
    if found is not None:
        assert typed + found[0].offered[found[1] :] == answer


def test_an_answer_offered_again_is_an_offer_of_its_own() -> None:
    made = offer("the tide")
    ask = completion(PLACE, "", "We wait for the ")
    second = again(made, ask, 4)
    assert (second.offered, second.generated) == ("tide", "tide")
    assert second.id != made.id
    assert second.prompt == ask.prompt
    assert second.prompt.prefill == "We wait for the "
    assert (second.version, second.range, second.latency_ms) == (7, (1, 2, 1, 2), 0.0)
    assert (second.arm, second.adapter_version, second.decision_id) == (made.arm, made.adapter_version, "d")
