"""The simulated users: what they draw, and the language model behind a URL."""

import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer
from random import Random
from threading import Thread

import pytest

from learner.armset import ArmSet, start_engine
from learner.config import Config
from learner.exceptions import RedraftError
from learner.experiment.plan import load
from learner.experiment.protocol import Cast
from learner.experiment.rules import RULES
from learner.experiment.users import GibbsUser, LanguageModel, LlmUser, RulesUser

KINDS = {"news": ("title", "bullets", "ask", "hashtag", "star")}
ANSWER = "The board meets on Monday. It is late."


def held(text):
    return tuple(RULES[name].holds(text) for name in KINDS["news"])


def test_the_strong_user_wants_every_rule_nearly_always():
    edits = [held(RulesUser(KINDS).edit("news", ANSWER, Random(i))) for i in range(400)]
    shares = [sum(column) / 400 for column in zip(*edits, strict=True)]
    assert all(0.94 < share < 1 for share in shares)


def test_the_strong_user_rarely_undoes_what_is_right():
    right = RulesUser(KINDS, 1.0).edit("news", ANSWER, Random(0))
    assert all(held(right))
    left_alone = [RulesUser(KINDS).edit("news", right, Random(i)) == right for i in range(400)]
    assert 0.97**5 - 0.08 < sum(left_alone) / 400 < 0.97**5 + 0.08


def test_the_weak_user_takes_two_of_five_and_now_and_then_all():
    weak = RulesUser(KINDS, 1.0, subset=2, thorough=0.05)
    counts = Counter(sum(held(weak.edit("news", ANSWER, Random(i)))) for i in range(1000))
    assert set(counts) == {2, 5}
    assert 0.03 < counts[5] / 1000 < 0.08


def test_what_the_weak_user_takes_does_not_depend_on_the_answer():
    weak = RulesUser(KINDS, 1.0, subset=2, thorough=0.0)
    other = "Another answer altogether. With two sentences."
    for i in range(50):
        assert held(weak.edit("news", ANSWER, Random(i))) == held(weak.edit("news", other, Random(i)))


def test_the_gibbs_user_follows_the_gibbs_distribution():
    user = GibbsUser(KINDS, beta=0.2, base_rate=0.3, weight=0.3)
    # logit p = logit 0.3 + 0.3 / 0.2
    expected = 1 / (1 + (0.7 / 0.3) * 2.718281828**-1.5)
    shares = [
        sum(column) / 2000
        for column in zip(*(held(user.edit("news", ANSWER, Random(i))) for i in range(2000)), strict=True)
    ]
    assert all(abs(share - expected) < 0.04 for share in shares)


def test_no_user_changes_what_is_as_it_wants_it():
    user = RulesUser(KINDS, 1.0)
    once = user.edit("news", ANSWER, Random(0))
    assert user.edit("news", once, Random(1)) == once


# A language model as the user


class Model:
    """Likes what has a bullet; else puts one there. Counts what it is asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, messages):
        question = messages[0].content
        self.asked.append(question)
        text = question.split("\n\n")[1]
        if "yes or no" in question:
            return "Yes." if text.startswith("- ") else "No"
        return f"- {text}"


def test_the_language_model_is_asked_the_papers_two_questions_and_cached(tmp_path):
    model = Model()
    user = LlmUser({"news": "bullet points, brief"}, model, tmp_path / "cache")
    assert user.edit("news", ANSWER, Random(0)) == f"- {ANSWER}"
    assert len(model.asked) == 2
    assert "bullet points, brief" in model.asked[1]
    assert user.edit("news", ANSWER, Random(0)) == f"- {ANSWER}"
    assert len(model.asked) == 2  # from the disk
    assert user.edit("news", f"- {ANSWER}", Random(0)) == f"- {ANSWER}"
    assert len(model.asked) == 3


def test_the_weak_language_model_names_some_of_the_wishes(tmp_path):
    model = Model()
    user = LlmUser({"news": "a, b, c, d, e"}, model, tmp_path, subset=2, thorough=0.0)
    user.edit("news", ANSWER, Random(0))
    style = model.asked[-1].split("this style: ")[1].split(". Change")[0]
    assert len(style.split(", ")) == 2


@pytest.fixture
def chat_server():
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, self.headers.get("Authorization"), body))
            answer = json.dumps({"choices": [{"message": {"content": "no"}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    thread.join()
    server.server_close()


def test_any_openai_compatible_url_can_be_the_user(chat_server, tmp_path, monkeypatch):
    url, seen = chat_server
    monkeypatch.setenv("USERS_KEY", "secret")
    cast = Cast(LanguageModel(url, "big-model", "USERS_KEY"), cache=tmp_path)
    users = cast.users(load("smollm2"), "email")
    assert users["strong"].edit("news", ANSWER, Random(0)) == "no"
    path, key, body = seen[0]
    assert (path, key, body["model"], body["temperature"]) == ("/v1/chat/completions", "Bearer secret", "big-model", 0)


@pytest.mark.model
def test_a_real_model_server_is_the_user(prepared_base, tmp_path, monkeypatch):
    """llama.cpp's own server over TCP, with a key: what `--user-url` reaches."""
    arms = ArmSet(prepared_base.gguf, prepared_base.fingerprint, None, {})
    engine, _ = start_engine(arms, Config(slots=1, context=1024), None)
    try:
        monkeypatch.setenv("USERS_KEY", engine.endpoint.key)
        cast = Cast(LanguageModel(engine.endpoint.url, "any", "USERS_KEY"), cache=tmp_path)
        user = cast.users(load("smollm2"), "summarization")["strong"]
        kept = user.edit("learned", ANSWER, Random(0))
        assert kept.strip()
    finally:
        engine.stop()
    assert user.edit("learned", ANSWER, Random(0)) == kept  # from the disk: the server is gone
    assert len(list(tmp_path.iterdir())) in (1, 2)


def test_a_url_that_does_not_answer_is_named_with_the_way_on(tmp_path):
    ask = LanguageModel("http://127.0.0.1:9", "m").ask()
    with pytest.raises(RedraftError, match=r"http://127.0.0.1:9 did not answer .* run the same command again"):
        LlmUser({"news": "brief"}, ask, tmp_path).edit("news", ANSWER, Random(0))
