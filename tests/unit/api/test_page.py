"""The page as a browser gets it."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest
from lxml import html

from office import Office
from reconvirt.api.server import Server
from reconvirt.api.shield import POLICY
from reconvirt.manifest.problem import Position, Problem


def load(
    server: Server, path: str, method: str = "GET", host: str | None = None
) -> tuple[http.client.HTTPResponse, str]:
    """One request, and what comes."""
    address = urlsplit(server.page_url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
    connection.request(method, path, headers={"Host": host} if host else {})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response, text


def test_all_virtual_servers(server: Server) -> None:
    """State, conditions, and what waits."""
    response, text = load(server, "/")

    assert 200 == response.status
    (row,) = html.fromstring(text).xpath("//table[contains(@class, 'fleet')]/tbody/tr")
    shown = " ".join(row.text_content().split())
    assert shown.startswith("test running")
    for word in ("waiting for a restart", "RestartRequired", "memory.size 8 GiB → 16 GiB"):
        assert word in shown


def test_one_virtual_server(server: Server, office: Office) -> None:
    """All about it; what a manifest says is text and never markup, and passwords are not there."""
    office.history.tell("test", "<b>Odd</b>", "<script>alert(1)</script>", level="error")

    _, text = load(server, "/servers/test")

    page = html.fromstring(text)
    assert ["live.js"] == [each.get("src").strip("/") for each in page.xpath("//script")]
    assert "<script>alert(1)</script>" in page.text_content()
    assert "<i>front</i>" in page.text_content()
    assert "<b>Bold</b>" in page.xpath("//table[@class='lines']")[0].text_content()
    assert [] == page.xpath("//b | //i")
    headings = [each.text_content().strip() for each in page.xpath("//h2")]
    assert ["Conditions", "What is not as wanted", "Values", "Events", "Manifest"] == headings
    assert "graphics" in text
    assert "hunter2" not in text


def test_an_event_that_happened_again_has_a_count(server: Server, office: Office) -> None:
    """One row, wherever events are shown."""
    for _ in range(3):
        office.history.tell("test", "StepFailed", "no such file", step="start", field="state")

    for path in ("/", "/events", "/servers/test"):
        page = html.fromstring(load(server, path)[1])
        rows = [
            " ".join(row.text_content().split())
            for row in page.xpath("//table[@class='events']/tbody/tr")
        ]
        (told,) = [row for row in rows if "no such file" in row]
        assert told.endswith("no such file: state (3 times in 0 s)")


@pytest.mark.parametrize("path", ["/", "/events", "/servers/test", "/servers/none"])
def test_it_can_be_read_by_all(server: Server, path: str) -> None:
    """Language, title, landmarks, one heading, headed tables, links with words, unique ids."""
    page = html.fromstring(load(server, path)[1])

    assert "en" == page.get("lang")
    assert page.xpath("//title/text()")[0].strip()
    for landmark in ("header", "nav[@aria-label]", "main[@id='main']", "footer", "h1"):
        assert 1 == len(page.xpath(f"//{landmark}")), landmark
    assert page.xpath("//a[@class='skip'][@href='#main']")
    for table in page.xpath("//table"):
        assert table.xpath("./thead/tr/th[@scope='col']")
        assert table.xpath("ancestor::div[@role='region'][@aria-label][@tabindex='0']")
    assert all(each.text_content().strip() for each in page.xpath("//a | //th[@scope='col']"))
    assert all(each.get("alt") is not None for each in page.xpath("//img"))
    ids = page.xpath("//@id")
    assert len(ids) == len(set(ids))
    assert set(page.xpath("//@aria-labelledby")) <= set(ids)


@pytest.mark.parametrize("path", ["/", "/servers/test", "/servers/none", "/style.css", "/nowhere"])
def test_a_browser_is_told_to_be_strict(server: Server, path: str) -> None:
    """Everything comes from here, and nothing is written into the page."""
    response, text = load(server, path)

    assert POLICY == response.getheader("Content-Security-Policy")
    assert "unsafe" not in POLICY
    assert "nosniff" == response.getheader("X-Content-Type-Options")
    assert "no-store" == response.getheader("Cache-Control")
    if path != "/style.css":
        page = html.fromstring(text)
        assert [] == page.xpath("//@style | //style | //@onclick | //form | //script[text()]")
        linked = page.xpath("//@src | //link/@href | //a/@href")
        assert all(each.startswith(("/", "#")) and "//" not in each for each in linked)


def test_nothing_can_be_written(server: Server) -> None:
    for path in ("/", "/servers/test", "/events"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert 405 == load(server, path, method)[0].status


def test_what_is_not_there(server: Server) -> None:
    response, text = load(server, "/servers/none")

    assert 404 == response.status
    assert "none: no manifest states it" in text
    assert 404 == load(server, "/nowhere")[0].status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:8643", 200),
        ("evil.example", 421),
        ("evil.example:8643", 421),
        ("127.0.0.1.evil.example", 421),
    ],
)
def test_foreign_names_are_refused(server: Server, host: str, status: int) -> None:
    """Else a web site could have its name point here, and read the page with its visitor's eyes."""
    assert status == load(server, "/", host=host)[0].status


def test_what_concerns_all_stands_first(server: Server, office: Office) -> None:
    """A lost connection, broken manifests, a held pruning."""
    problem = Problem(Position("a.yaml", 3, 5), "spec.vcpu", "it must be <1>")
    office.book.describe(connected=False, problems=(problem,), prune_held="12 of 20 are gone.")

    text = html.fromstring(load(server, "/")[1]).text_content()

    for words in ("No connection to libvirt", "a.yaml:3:5: spec.vcpu", "<1>", "12 of 20 are gone"):
        assert words in text


def test_a_lost_libvirt(server: Server, office: Office) -> None:
    """What the daemon knows by itself is shown all the same."""
    office.hypervisor.close()

    response, text = load(server, "/servers/test")

    assert 200 == response.status
    assert "libvirt cannot be read now" in text
    assert "RestartRequired" in text
