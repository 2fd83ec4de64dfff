import pytest

from supervise.config.control import ServerConfig


@pytest.mark.parametrize(
    ("server", "url"),
    [
        (ServerConfig(kind="unix", section="unix_http_server", file="/run/x.sock"), "unix:///run/x.sock"),
        (ServerConfig(kind="inet", section="inet_http_server", port=9001), "http://localhost:9001"),
        (ServerConfig(kind="inet", section="inet_http_server", host="10.0.0.1", port=9001), "http://10.0.0.1:9001"),
        (ServerConfig(kind="inet", section="inet_http_server", host="::1", port=9001), "http://[::1]:9001"),
    ],
)
def test_what_a_client_on_this_machine_connects_to(server: ServerConfig, url: str) -> None:
    assert server.url == url
