"""What the base computed of texts, kept for the next training: found again, never another base's, never in the way."""

import stat

import pytest
import torch
from policies import CPU, kept_texts, policy, rows

from learner.training.computed import FILE, Computed
from learner.training.reference import Reference


def test_what_is_put_is_found(tmp_path):
    computed = Computed(tmp_path / "cache", "base float32")
    keys = [computed.key("logprobs", (1, 2), (i,)) for i in range(1201)]
    assert len(set(keys)) == 1201
    computed.put({key: torch.tensor([i, 0.5]) for i, key in enumerate(keys[:1200])})
    found = computed.get(keys)
    assert found.keys() == set(keys[:1200])
    assert found[keys[7]].tolist() == [7, 0.5]
    assert stat.S_IMODE((tmp_path / "cache" / FILE).stat().st_mode) == 0o600


def test_another_base_kind_or_text_is_another_key(tmp_path):
    computed = Computed(tmp_path, "base float32")
    key = computed.key("logprobs", (1, 2), (3,))
    computed.put({key: torch.ones(1)})
    for other in (
        Computed(tmp_path, "base bfloat16").key("logprobs", (1, 2), (3,)),
        Computed(tmp_path, "another float32").key("logprobs", (1, 2), (3,)),
        computed.key("features", (1, 2), (3,)),
        computed.key("logprobs", (1,), (2, 3)),
    ):
        assert other != key
        assert computed.get([other]) == {}


@pytest.mark.parametrize("damage", [b"", b"not a database at all" * 100])
def test_a_damaged_file_is_begun_anew(tmp_path, damage):
    (tmp_path / FILE).write_bytes(damage)
    computed = Computed(tmp_path, "base")
    assert computed.get(["a"]) == {}
    computed.put({"a": torch.ones(2)})
    assert computed.get(["a"])["a"].tolist() == [1, 1]


def test_the_reference_is_not_computed_twice(tmp_path, monkeypatch):
    base, texts = policy(), kept_texts(rows())
    fresh = Reference(base.causal_lm, base.prefixes, CPU)
    fresh.fill(texts)
    first = Reference(base.causal_lm, base.prefixes, CPU, computed=Computed(tmp_path, "tiny"))
    first.fill(texts[:-1])
    second = Reference(base.causal_lm, base.prefixes, CPU, computed=Computed(tmp_path, "tiny"))
    asked = []
    score = second._score
    monkeypatch.setattr(second, "_score", lambda some: asked.extend(some) or score(some))
    second.fill(texts)
    assert asked == texts[-1:]
    for text in texts:
        torch.testing.assert_close(second.get(text), fresh.get(text), atol=1e-6, rtol=0)
