"""The endpoint over real sockets: formats, path, users, TLS."""

from __future__ import annotations

import base64
import gzip
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics

from reconvirt.metrics.collector import Collector
from reconvirt.metrics.endpoint import Endpoint, EndpointError
from reconvirt.metrics.exposition import Exposition, write_textfile
from reconvirt.metrics.settings import MetricsSettings
from reconvirt.metrics.users import Users, UsersError, make_line
from testbed.lacks import Lack, skip

Serve = Callable[..., Endpoint]


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(3)
    return registry


def exposition(registry: CollectorRegistry) -> Exposition:
    """What is served before the first collection."""
    return Exposition(registry, Collector(lambda: None), "host1")  # type: ignore[arg-type]  # never asked


@pytest.fixture
def serve(registry: CollectorRegistry) -> Iterator[Serve]:
    started: list[Endpoint] = []

    def start(**settings: str) -> Endpoint:
        endpoint = Endpoint(MetricsSettings(listen="127.0.0.1:0", **settings), exposition(registry))
        endpoint.start()
        started.append(endpoint)
        return endpoint

    yield start
    for each in started:
        each.stop()


def get(
    endpoint: Endpoint, path: str = "/metrics", scheme: str = "http", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    request = urllib.request.Request(f"{scheme}://127.0.0.1:{endpoint.port}{path}", headers=named)
    trusting = ssl._create_unverified_context() if scheme == "https" else None
    try:
        with urllib.request.urlopen(request, timeout=20, context=trusting) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_text(serve: Serve) -> None:
    status, headers, body = get(serve())
    assert 200 == status
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert b"things_total 3.0\n" in body


def test_open_metrics_and_compression(serve: Serve) -> None:
    endpoint = serve()
    status, headers, body = get(
        endpoint, Accept="application/openmetrics-text; version=1.0.0", Accept_Encoding="gzip"
    )
    assert 200 == status
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "gzip" == headers["Content-Encoding"]
    text = gzip.decompress(body).decode()
    assert text.endswith("# EOF\n")
    assert ["things"] == [each.name for each in open_metrics(text)]


def test_only_this_path_and_only_get(serve: Serve) -> None:
    endpoint = serve(path="/m")
    assert 200 == get(endpoint, "/m")[0]
    assert 200 == get(endpoint, "/")[0]
    assert 404 == get(endpoint, "/metrics")[0]
    request = urllib.request.Request(f"http://127.0.0.1:{endpoint.port}/m", method="POST")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=20)
    with raised.value:
        assert 405 == raised.value.code


def test_users(serve: Serve, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"# who may\n\n{make_line('prometheus', 'se:cret')}\n", encoding="utf-8")
    endpoint = serve(users_file=str(users))
    status, headers, body = get(endpoint)
    assert 401 == status
    assert headers["WWW-Authenticate"].startswith("Basic")
    assert b"things" not in body
    for header in (
        basic("prometheus", "wrong"),
        basic("nobody", "se:cret"),
        "Basic !!",
        "Basic " + base64.b64encode(b"prometheus").decode(),
        "Bearer x",
    ):
        assert 401 == get(endpoint, Authorization=header)[0]
    for _ in range(2):
        assert 200 == get(endpoint, Authorization=basic("prometheus", "se:cret"))[0]

    users.write_text(make_line("other", "x") + "\n", encoding="utf-8")
    assert 401 == get(endpoint, Authorization=basic("prometheus", "se:cret"))[0]
    assert 200 == get(endpoint, Authorization=basic("other", "x"))[0]
    users.unlink()
    assert 401 == get(endpoint, Authorization=basic("other", "x"))[0]


def test_a_bad_file_of_users(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("prometheus:secret\n", encoding="utf-8")
    with pytest.raises(UsersError, match=r"users:1: not NAME:scrypt:SALT:HASH"):
        Users(users)


def test_tls(serve: Serve, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key}"
    subprocess.run([*command.split(), "-out", str(certificate)], check=True, capture_output=True)
    endpoint = serve(tls_certificate=str(certificate), tls_key=str(key))
    # One that connects and says nothing holds up nobody.
    with socket.create_connection(("127.0.0.1", endpoint.port)):
        assert 200 == get(endpoint, scheme="https")[0]
    certificate.write_text("none", encoding="utf-8")
    with pytest.raises(EndpointError, match=r"certificate\.pem"):
        serve(tls_certificate=str(certificate), tls_key=str(key))


def test_a_taken_address(serve: Serve, registry: CollectorRegistry) -> None:
    port = serve().port
    with pytest.raises(EndpointError, match=f"metrics on 127.0.0.1:{port}: .*in use"):
        Endpoint(MetricsSettings(listen=f"127.0.0.1:{port}"), exposition(registry))


def test_ipv6(registry: CollectorRegistry) -> None:
    try:
        endpoint = Endpoint(MetricsSettings(listen="[::1]:0"), exposition(registry))
    except EndpointError:
        skip(Lack.IPV6)
    endpoint.start()
    endpoint.stop()


def test_a_textfile_is_whole_and_readable(registry: CollectorRegistry, tmp_path: Path) -> None:
    path = tmp_path / "reconvirt.prom"
    write_textfile(exposition(registry).text(), path)
    assert "things_total 3.0" in path.read_text(encoding="utf-8")
    assert 0o644 == path.stat().st_mode & 0o777
    assert [path] == list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError):
        write_textfile(b"", tmp_path / "none" / "reconvirt.prom")
