"""What a host serves, from what it lists; and how it is reached."""

from pathlib import Path

import httpx2
import pytest

from learner.endpoint import Endpoint, check
from learner.exceptions import ConfigError, HostProtocolError
from learner.host_http import transport
from learner.host_listing import describe
from learner.hostwire import Adapter, Model
from learner.plain_http import PlainTransport

OURS = {"redraft-sft-3-9f86d081": "sft-3"}
ELSEWHERE = Endpoint(url="http://gpu:8000")


def a_model(name, *, owner="vllm", parent=None):
    return Model(id=name, owned_by=owner, parent=parent)


def test_a_bare_id_elsewhere_is_not_ours():
    listed = [a_model("base"), a_model("sft-3", parent="base"), a_model("redraft-sft-3-9f86d081", parent="base")]
    assert describe(ELSEWHERE, listed, None, OURS).adapters == {"sft-3": "redraft-sft-3-9f86d081"}
    assert describe(ELSEWHERE, listed[:2], None, OURS).adapters == {}
    files = [Adapter(id=0, path="/a/sft-3.gguf")]
    assert describe(ELSEWHERE, [a_model("base", owner="llamacpp")], files, OURS).adapters == {}
    own = Endpoint(socket=Path("/run/host.sock"))
    assert describe(own, [a_model("base", owner="llamacpp")], files, {}).adapters == {"sft-3": 0}
    others = [Adapter(id=0, path="/a/sql.gguf")]
    assert describe(ELSEWHERE, [a_model("base", owner="llamacpp")], others, OURS).adapters == {"sql": 0}


def test_an_adapter_is_never_the_base():
    adapter = a_model("redraft-sft-3-9f86d081", parent="hidden")
    assert describe(ELSEWHERE, [adapter], None, OURS).model == "hidden"
    assert describe(ELSEWHERE, [adapter, a_model("sql", parent="hidden")], None, OURS).model == "hidden"
    for listed in ([adapter, a_model("sql", parent="other")], [a_model("redraft-sft-3-9f86d081", owner="gateway")]):
        with pytest.raises(HostProtocolError, match=r"set host\.model"):
            describe(ELSEWHERE, listed, None, OURS)


@pytest.mark.parametrize("url", ["https://gpu", "HTTPS://gpu", "hTTps://gpu:1"])
def test_what_is_to_be_hidden_is_never_plain(url):
    check(Endpoint(url=url, key="secret"))
    assert isinstance(transport(Endpoint(url=url)), httpx2.AsyncHTTPTransport)
    assert isinstance(transport(Endpoint(url="http://127.0.0.1:1")), PlainTransport)


@pytest.mark.parametrize("url", [" https://gpu", "https://gpu\n", "https://g pu"])
def test_white_space_is_refused(url):
    with pytest.raises(ConfigError, match="white space"):
        check(Endpoint(url=url))
