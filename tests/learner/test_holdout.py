"""The held-out split: stable, salted, a fifth, near-duplicates together."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from store_rows import record

from learner import holdout
from learner.records import Edit, Prompt
from learner.store import Store

WORDS = [f"word{i}" for i in range(3000)]


def text(rng: Random, words: int = 80) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def edits(store: Store, texts: dict[str, str]) -> list[Edit]:
    """One unsettled edit per document, showing its text."""
    record(store, None)
    like = next(store.edits())
    prompt = like.chat
    made = []
    for document, body in texts.items():
        last = replace(prompt.messages[-1], content=f"Make this shorter.\n\n{body}")
        made.append(replace(like, document=document, prompt=Prompt((*prompt.messages[:-1], last)).to_json()))
    return made


def test_a_fifth_is_held_out_of_few_documents_and_of_many() -> None:
    rng = Random(3)
    with Store.open(None) as store:
        some = edits(store, {f"file:///{i}": text(rng) for i in range(500)})
        for count in (0, 1, 4, 5, 45, 500):
            held = holdout.assign(store, some[:count])
            assert len(held) == count
            assert count // 5 <= sum(held.values()) <= -(-count // 5)
        assert store.read("SELECT count(DISTINCT lineage) FROM lineages") == [(500,)]


def test_the_salt_decides_so_that_no_two_stores_hold_out_the_same() -> None:
    splits = [[holdout.is_held_out(number, salt) for number in range(400)] for salt in ("a", "b")]
    assert splits[0] != splits[1]
    places = [split.index(True, begin) % 5 for split in splits for begin in range(0, 400, 5)]
    assert {place: 20 < places.count(place) < 44 for place in range(5)} == dict.fromkeys(range(5), True)
    digest = hashlib.sha256(b"a\x000").digest()
    assert splits[0][:5].index(True) == int.from_bytes(digest[:8]) % 5


def test_a_decision_stands_for_ever(tmp_path: Path) -> None:
    rng = Random(4)
    first = {f"file:///{i}": text(rng) for i in range(50)}
    with Store.open(tmp_path / "edits.db") as store:
        before = holdout.assign(store, edits(store, first))
    with Store.open(tmp_path / "edits.db") as store:
        changed = edits(store, {d: text(rng) for d in first} | {f"file:///new{i}": text(rng) for i in range(50)})
        rng.shuffle(changed)
        after = holdout.assign(store, changed)
        assert {d: after[d] for d in before} == before
        assert holdout.assign(store, []) == after


def test_near_duplicates_join_and_others_do_not() -> None:
    rng = Random(6)
    texts, kin = {}, []
    for i in range(120):
        body = text(rng)
        words = body.split()
        words[rng.randrange(len(words))] = "changed"
        texts[f"file:///{i}"] = body
        texts[f"file:///copy/{i}"] = body
        texts[f"file:///edited/{i}"] = " ".join(words)
        texts[f"file:///upper/{i}"] = body.upper().replace(" ", "\n")
        kin.append((f"file:///{i}", f"file:///copy/{i}", f"file:///upper/{i}"))
    with Store.open(None) as store:
        held = holdout.assign(store, edits(store, texts))
        lineage = dict(store.read("SELECT document, lineage FROM lineages"))
    for original, *others in kin:
        assert [lineage[o] for o in others] == [original, original]
        assert {held[o] for o in others} == {held[original]}
    joined = sum(lineage[f"file:///edited/{i}"] == f"file:///{i}" for i in range(120))
    assert joined >= 108  # a sketch of 12 marks: nine in ten at the least
    assert {lineage[d] for d in texts} <= {f"file:///{i}" for i in range(120)} | {
        f"file:///edited/{i}" for i in range(120)
    }


def test_a_held_out_text_never_comes_back_for_training() -> None:
    rng = Random(8)
    bodies = [text(rng) for _ in range(100)]
    with Store.open(None) as store:
        first = holdout.assign(store, edits(store, {f"file:///a/{i}": b for i, b in enumerate(bodies)}))
        again = holdout.assign(store, edits(store, {f"file:///b/{i}": b for i, b in enumerate(bodies)}))
    assert sum(first.values()) > 5
    assert all(again[f"file:///b/{i}"] == first[f"file:///a/{i}"] for i in range(100))


@given(st.text(max_size=200))
def test_marks_of_any_text(body: str) -> None:
    made = holdout.marks(body)
    assert 1 <= len(made) <= holdout.MARKS
    assert made == sorted(made) == holdout.marks(body)
