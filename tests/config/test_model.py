import pytest

from supervise.config.model import Config, DaemonConfig, ProgramConfig, ServerConfig, SocketConfig

UNIX = ServerConfig(kind="unix", section="unix_http_server", file="/run/x.sock")
INET = ServerConfig(kind="inet", section="inet_http_server", port=9001)
V6 = ServerConfig(kind="inet", section="inet_http_server:6", host="::1", port=9002)


def test_names() -> None:
    assert ProgramConfig(name="a", group_name="a", command="x").namespec == "a"
    assert ProgramConfig(name="a", group_name="g", command="x").namespec == "g:a"


def test_words_of_the_command() -> None:
    assert ProgramConfig(name="a", group_name="a", command="sh -c 'a b'\n c").argv == ["sh", "-c", "a b", "c"]
    with pytest.raises(ValueError, match="No closing quotation"):
        _ = ProgramConfig(name="a", group_name="a", command="sh '").argv


@pytest.mark.parametrize(
    ("servers", "url"),
    [
        ((), None),
        ((INET,), "http://localhost:9001"),
        ((INET, V6), "http://[::1]:9002"),
        ((INET, UNIX), "unix:///run/x.sock"),
    ],
)
def test_the_url_for_children(servers: tuple[ServerConfig, ...], url: str | None) -> None:
    assert Config(daemon=DaemonConfig(), file="f", here="/", servers=servers).serverurl == url


def test_urls_of_sockets() -> None:
    assert SocketConfig(path="/x").url == "unix:///x"
    assert SocketConfig(host="h", port=1).url == "tcp://h:1"
    assert SocketConfig(host="::1", port=1).url == "tcp://[::1]:1"
    assert SocketConfig(port=1).url == "tcp://*:1"


def test_where_something_stands_is_not_compared() -> None:
    one = Config(daemon=DaemonConfig(), file="f", here="/", origins={("a", "b"): "f:1"}, messages=((20, "x"),))
    assert one == Config(daemon=DaemonConfig(), file="f", here="/")
