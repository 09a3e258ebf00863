"""The pause to wait for: longer for slow typists, shorter for slow models, never nothing and never long."""

from hypothesis import given
from hypothesis import strategies as st

from lsp_server.pace import LEAST_SECONDS, MOST_SECONDS, PAUSE_INTERVALS, USUAL_INTERVAL, Pace


def typing(interval: float, keys: int = 20) -> Pace:
    pace = Pace()
    for key in range(keys):
        pace.typed(10.0 + key * interval)
    return pace


def test_before_anything_is_known() -> None:
    assert Pace().seconds == PAUSE_INTERVALS * USUAL_INTERVAL


def test_it_follows_the_rhythm() -> None:
    fast, slow = typing(0.08), typing(0.2)
    assert abs(fast.seconds - 0.16) < 1e-9
    assert abs(slow.seconds - 0.4) < 1e-9


def test_a_slow_model_is_asked_earlier() -> None:
    pace = typing(0.2)
    pace.answered(0.3)
    assert abs(pace.seconds - 0.1) < 1e-9
    for _ in range(3):
        pace.answered(2.0)
    assert pace.seconds == LEAST_SECONDS


def test_a_break_is_no_rhythm() -> None:
    pace = typing(0.1)
    pace.typed(1000.0)
    pace.typed(1060.0)
    assert abs(pace.seconds - 0.2) < 1e-9


def test_an_old_rhythm_is_forgotten() -> None:
    pace = typing(0.05, 100)
    for key in range(20):
        pace.typed(100.0 + 0.2 * key)
    assert abs(pace.seconds - 0.4) < 1e-9


@given(st.lists(st.floats(0, 100)), st.lists(st.floats(0, 100)))
def test_never_nothing_and_never_long(keys: list[float], latencies: list[float]) -> None:
    pace = Pace()
    for at in keys:
        pace.typed(at)
    for seconds in latencies:
        pace.answered(seconds)
    assert LEAST_SECONDS <= pace.seconds <= MOST_SECONDS
