"""Rows: ends of texts, alignment, limits, and the arrangement of what `prepare` made."""

from dataclasses import replace

import pytest
from edit_rows import an_edit
from policies import INVOCATION, tiny_tokenizer

from learner.exceptions import PluginError
from learner.feedback import Prepared
from learner.training.dataset import align, end_is_settled, stopped, tokenise, with_prepared
from learner.training.settings import TrainSettings

SETTINGS = TrainSettings(feedback=("sft",))
END = 2
TEMPLATE = (
    "{% for m in messages %}w3 {{ m['content'] }} w4 {% endfor %}{% if add_generation_prompt %}w5 w6 w7 {% endif %}"
)


@pytest.fixture
def tokenizer():
    made = tiny_tokenizer()
    made.chat_template = TEMPLATE
    return made


def rows_of(edits, tokenizer, settings=SETTINGS, invocation=INVOCATION):
    return tokenise(edits, tokenizer, settings, invocation)


def test_a_row_is_the_prompt_that_was_served_and_both_texts(tokenizer):
    (row,) = rows_of([an_edit("w20 w21 w22", "w20 w30 w22 w23", cost=0.5, cost_max=0.4)], tokenizer).rows
    assert row.prompt[-3:] == INVOCATION
    assert row.start == len(row.prompt) - 3
    assert row.offered == (20, 21, 22, END)
    assert row.kept == (20, 30, 22, 23, END)
    assert (row.cost, row.cost_max, row.weight) == (0.5, 0.4, 1.0)
    assert row.offered_aligned == (True, False, True, True)
    assert row.kept_aligned == (True, False, True, False, True)


def test_accepted_rows_count_less(tokenizer):
    accepted = an_edit("w20", "w20", outcome="accepted", cost=0.0, cost_max=0.0)
    (row,) = rows_of([accepted], tokenizer).rows
    assert (row.weight, row.cost_max, row.kept) == (0.25, 0.0, row.offered)
    (row,) = rows_of([accepted], tokenizer, replace(SETTINGS, accepted_weight=0.1)).rows
    assert row.weight == 0.1


def test_rejected_rows_have_no_kept_text_and_cost_1(tokenizer):
    (row,) = rows_of([an_edit("w20 w21", None, outcome="rejected")], tokenizer).rows
    assert (row.kept, row.cost, row.cost_max, row.kept_aligned) == ((), 1.0, 1.0, ())


def test_costs_that_an_import_left_out_are_computed(tokenizer):
    (row,) = rows_of([an_edit("w20 w21", "w20 w30")], tokenizer).rows
    assert (row.cost, row.cost_max) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("changes", "ended"),
    [
        ({}, True),
        ({"finish_reason": "length"}, False),
        ({"generated": "w20 w21"}, True),
        ({"generated": "w20 w21  \n"}, True),
        ({"generated": "Sure, here it is:\nw20 w21"}, True),
        ({"generated": "```\nw20 w21\n```"}, True),
        ({"generated": "w20 w21 w22 w23"}, False),  # the user took a part
    ],
)
def test_end_of_offered_text_is_learnt_only_where_the_model_stopped(changes, ended, tokenizer):
    edit = an_edit("w20 w21", "w30", **changes)
    assert stopped(edit) == ended
    (row,) = rows_of([edit], tokenizer).rows
    assert (row.offered[-1] == END) == ended
    assert row.kept[-1] == END  # a draft's end is settled by its user


@pytest.mark.parametrize(
    ("task", "finish", "ended"),
    [
        ("draft", "length", True),
        ("rewrite", "length", True),
        ("completion", "length", False),
        ("completion", "stop", True),
    ],
)
def test_end_of_kept_text_is_learnt_where_somebody_settled_it(task, finish, ended, tokenizer):
    edit = an_edit("w20 w21", "w30", task=task, finish_reason=finish)
    assert end_is_settled(edit) == ended
    (row,) = rows_of([edit], tokenizer).rows
    assert (row.kept[-1] == END) == ended


def test_what_does_not_fit_is_left_out_and_counted(tokenizer):
    short = replace(SETTINGS, max_prompt_tokens=40, max_answer_tokens=3)
    edits = [
        an_edit("w20", "w21"),
        an_edit("w20", "w21", prompt="w9 " * 30),
        an_edit("w20 w20 w20 w20", "w21"),
        an_edit("w20", "w21 w21 w21"),  # with its end-of-text one too many
    ]
    made = rows_of(edits, tokenizer, short)
    assert [e.offered for e in made.edits] == ["w20"]
    assert dict(made.left_out) == {
        "its prompt is longer than 40 tokens": 1,
        "its offered or kept text is longer than 3 tokens": 2,
    }


def test_a_prompt_that_never_activates_the_adapter_is_left_out(tokenizer):
    made = rows_of([an_edit("w20", "w21")], tokenizer, invocation=(60, 61))
    assert made.rows == ()
    assert list(made.left_out.values()) == [1]
    (row,) = rows_of([an_edit("w20", "w21")], tokenizer, invocation=()).rows
    assert row.start == 0


def test_the_last_invocation_activates(tokenizer):
    (row,) = rows_of([an_edit("w20", "w21", prompt="w5 w6 w7 w9")], tokenizer).rows
    assert row.start == len(row.prompt) - 3


@pytest.mark.parametrize(
    ("kept", "offered", "in_kept", "in_offered"),
    [
        ((), (), (), ()),
        ((1, 2), (), (False, False), ()),
        ((1, 2, 3), (1, 2, 3), (True,) * 3, (True,) * 3),
        ((1, 9, 3), (1, 2, 3), (True, False, True), (True, False, True)),
        ((7, 1, 2), (1, 2), (False, True, True), (True, True)),
    ],
)
def test_alignment(kept, offered, in_kept, in_offered):
    assert align(kept, offered) == (in_kept, in_offered)


def prepared_rows(tokenizer, candidates, tables=None, **changes):
    data = rows_of([an_edit("w20", "w21", finish_reason="length")], tokenizer)
    settings = replace(SETTINGS, **changes)
    return with_prepared(
        data, Prepared(candidates, tables or {}), tokenizer, settings, "rl", cut={"w30 w31 w32 w33", "w20"}
    )


def test_candidates_that_were_cut_are_dropped(tokenizer):
    made = prepared_rows(tokenizer, [["w20", "w21", "w30", "w30 w31 w32 w33"]], {"q": [[0.1, 0.2, 0.3, 0.4]]})
    (row,) = made.rows
    # y and y' are the row's own texts: y was cut by the token limit, y' was settled
    assert row.candidates == ((20,), (21, END), (30, END))
    assert row.tables == {"q": (0.1, 0.2, 0.3)}


def test_candidates_over_the_limit_leave_the_row_out(tokenizer):
    made = prepared_rows(tokenizer, [["w30 w31 w32"]], max_answer_tokens=3)
    assert made.rows == made.edits == ()
    assert dict(made.left_out) == {"a candidate is longer than 3 tokens": 1}


@pytest.mark.parametrize(
    ("candidates", "tables", "words"),
    [([], {}, "for 0 edits"), ([["w20"]], {"q": [[1.0, 2.0]]}, "table 'q'")],
)
def test_what_prepare_made_must_fit(candidates, tables, words, tokenizer):
    with pytest.raises(PluginError, match=f"'rl'.*{words}"):
        prepared_rows(tokenizer, candidates, tables)
