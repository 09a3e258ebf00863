"""Records: ids, and the prompt's JSON."""

import json
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.records import Message, Offer, Outcome, Prompt, SettledBy, Settlement, new_id

MESSAGES = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), st.text())
PROMPTS = st.builds(Prompt, st.lists(MESSAGES, max_size=4).map(tuple), st.text())


@given(PROMPTS)
def test_a_prompt_survives_its_json(prompt):
    assert Prompt.from_json(prompt.to_json()) == prompt


def test_the_prompts_json_is_the_public_one():
    body = json.loads(Prompt((Message("user", "schön"),)).to_json())
    assert body == {"format": "chat", "messages": [{"role": "user", "content": "schön"}]}
    assert json.loads(Prompt((), prefill="x").to_json())["prefill"] == "x"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("no json", ValueError),
        ('{"format": "text", "content": "a"}', ValueError),
        ('{"messages": []}', KeyError),
        ('{"format": "chat", "messages": [{"role": "user"}]}', KeyError),
        ("[]", TypeError),
    ],
)
def test_what_is_no_prompt_is_refused(text, error):
    with pytest.raises(error):
        Prompt.from_json(text)


def test_ids_are_unique_and_sort_by_time():
    ids = [new_id() for _ in range(200)]
    assert sorted(set(ids)) == ids


def test_records_are_frozen():
    settlement = Settlement("1", Outcome.EDITED, SettledBy.SAVE, 1.0)
    with pytest.raises(FrozenInstanceError):
        settlement.outcome = Outcome.ACCEPTED  # type: ignore[misc]


def test_public_words_of_the_architecture():
    assert {o.value for o in Outcome} == {"accepted", "edited", "rejected", "ignored", "censored"}
    assert {"quiet", "save", "close", "commit", "limit"} <= {s.value for s in SettledBy}
    assert Offer.__dataclass_fields__["instruction"].default == ""
