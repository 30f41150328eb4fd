"""The page of a daemon on a real libvirt, in a real Chromium; what it looks like is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from lxml import html

from testbed import (
    Browser,
    Daemon,
    Desired,
    LibvirtHost,
    Reconvirt,
    disk,
    dump_dom,
    wait_until,
)

Name = Callable[..., str]

SOON = 60.0  # seconds; it takes a hundredth of that on an idle machine
NARROW = (500, 900)


@dataclass(frozen=True, slots=True)
class Scene:
    """A daemon with something to show.

    Attributes:
        url: of the page.
        waiting: a virtual server for which something waits for its restart.
        held: one that is held.
        good: one that is as wanted.
        daemon: the daemon.
    """

    url: str
    waiting: str
    held: str
    good: str
    daemon: Daemon


@pytest.fixture
def scene(
    host: LibvirtHost, desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> Iterator[Scene]:
    waiting, held, good = (unique_name(each) for each in ("web", "db", "batch"))
    disks = {"disks": [disk(host.image(f"{waiting}-a"), "vda")]}
    desired.manifest(waiting, devices=disks)
    for name in (held, good):
        desired.manifest(name, state="shutoff")
    (desired.path / "broken.yaml").write_text("apiVersion: reconvirt/v1\nkind: <b>Server</b>\n")
    with reconvirt.run() as daemon:
        for name in (waiting, held, good):
            daemon.wait_for("converged", SOON, virtual_server=name)
        desired.manifest(
            waiting, devices=disks, memory="256 MiB", vcpu={"maximum": 4, "current": 2}
        )
        reconvirt("hold", held, "--reason", "replacing the disk of the database")
        due = "at next start: memory.size, vcpu.maximum"
        daemon.wait_for("restart required", SOON, virtual_server=waiting, message=due)
        daemon.wait_for("held", SOON, virtual_server=held)
        yield Scene(reconvirt.page_url, waiting, held, good, daemon)


def rows(document: str) -> dict[str, str]:
    """The virtual servers of a page, and what their rows say."""
    found = html.fromstring(document).xpath("//table[contains(@class, 'fleet')]/tbody/tr")
    texts = [" ".join(row.text_content().split()) for row in found]
    return {text.partition(" ")[0]: text for text in texts}


def test_what_a_browser_makes_of_it(scene: Scene) -> None:
    """All virtual servers with state, conditions, and what waits; and one on its own page."""
    shown = rows(dump_dom(scene.url))

    assert {scene.waiting, scene.held, scene.good} == set(shown)
    for words in (
        "running booted",
        "waiting for a restart",
        "RestartRequired",
        "memory.size 192 MiB → 256 MiB",
        "vcpu.maximum 2 → 4",
    ):
        assert words in shown[scene.waiting]
    assert "held" in shown[scene.held]
    assert "shut off" in shown[scene.good]

    page = html.fromstring(dump_dom(f"{scene.url}servers/{scene.waiting}"))
    differing = page.xpath("//tr[@class='differs']/th/code")
    assert ["memory.size", "vcpu.maximum"] == [each.text_content() for each in differing]
    assert "at next start" in page.text_content()
    assert "<b>Server</b>" in html.fromstring(dump_dom(scene.url)).text_content()


def test_it_is_live_and_the_browser_has_nothing_to_complain_of(
    scene: Scene, desired: Desired, reconvirt: Reconvirt
) -> None:
    """It is renewed as things change, without a reload, and nobody loses the place."""
    with Browser() as browser:
        browser.open(scene.url)
        wait_until(lambda: browser.text("#live") == "live", SOON, "the page to be live")
        browser.run("window.untouched = true")
        browser.run(f"document.querySelector('[href=\"/servers/{scene.good}\"]').focus()")
        assert "held" in rows(browser.run("return document.body.outerHTML"))[scene.held]

        reconvirt("release", scene.held)
        desired.manifest(scene.good, state="shutoff", vcpu={"maximum": 2, "current": 2})

        def renewed() -> bool:
            shown = rows(browser.run("return document.body.outerHTML"))
            return "held" not in shown[scene.held] and "2/2" in shown[scene.good]

        wait_until(renewed, SOON, "the page to be renewed")
        assert browser.run("return window.untouched")
        assert f"/servers/{scene.good}" == browser.run(
            "return document.activeElement.getAttribute('href')"
        )

        scene.daemon.stop()
        wait_until(lambda: browser.text("#live") == "not connected", SOON, "the end to be seen")
        assert {scene.waiting, scene.held, scene.good} == set(
            rows(browser.run("return document.body.outerHTML"))
        )
        scene.daemon.start()
        wait_until(lambda: browser.text("#live") == "live", SOON, "the page to be live again")
        wait_until(renewed, SOON, "the page to be renewed by the new daemon")

        complaints = [each for each in browser.complaints() if "ERR_" not in each]
        assert [] == complaints


def test_its_policy_is_in_force(scene: Scene) -> None:
    """A script that got into the page would not be run, nor a picture from elsewhere be loaded."""
    with Browser() as browser:
        browser.open(f"{scene.url}servers/{scene.waiting}")
        assert [] == browser.complaints()
        browser.run(
            "const script = document.createElement('script');"
            "try { script.textContent = 'window.broken = true' } catch (error) {}"
            "document.body.append(script);"
            "const image = document.createElement('img');"
            "image.src = 'http://localhost:1/x.png'; document.body.append(image);"
        )

        assert browser.run("return window.broken") is None
        complaints = " ".join(browser.complaints())
        assert "TrustedScript" in complaints
        assert "img-src" in complaints


def test_it_works_without_scripts(scene: Scene) -> None:
    """And says that it is as of its loading."""
    with Browser(scripts=False) as browser:
        browser.open(scene.url)

        assert "Load the page again" in browser.text("footer")
        assert "" == browser.text("#live")
        assert "RestartRequired" in browser.text("table.fleet")
        browser.picture("fleet-without-scripts")


def test_it_is_used_with_the_keyboard(scene: Scene) -> None:
    """The first key leads past the head of the page, and the focus is seen."""
    tab, enter = "\ue004", "\ue007"
    with Browser() as browser:
        browser.open(scene.url)
        browser.press(tab)
        assert "To the content" == browser.run("return document.activeElement.textContent")
        box = "const box = document.activeElement.getBoundingClientRect();"
        assert browser.run(f"{box} return box.left >= 0 && box.width > 0")

        browser.press(enter)
        assert "main" == browser.run("return document.activeElement.id")
        browser.press(tab, tab)
        style = "return getComputedStyle(document.activeElement).outlineStyle"
        assert "solid" == browser.run(style)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_how_it_looks(scene: Scene, dark: bool) -> None:
    """Every text stands out from what is behind it as WCAG asks; pictures are for people."""
    look = "dark" if dark else "light"
    with Browser(dark=dark) as browser:
        for name, path in (
            ("fleet", ""),
            ("server", f"servers/{scene.waiting}"),
            ("events", "events"),
            ("not-there", "servers/nobody"),
        ):
            browser.open(f"{scene.url}{path}")
            assert dark == browser.run("return matchMedia('(prefers-color-scheme: dark)').matches")
            assert [] == browser.run(FAINT)
            browser.picture(f"{name}-{look}")


def test_it_fits_a_narrow_window(scene: Scene) -> None:
    """Tables scroll by themselves; the page does not."""
    with Browser(size=NARROW) as browser:
        for name, path in (("fleet", ""), ("server", f"servers/{scene.waiting}")):
            browser.open(f"{scene.url}{path}")
            width = "document.documentElement"
            assert browser.run(f"return {width}.scrollWidth <= {width}.clientWidth")
            browser.picture(f"{name}-narrow")


FAINT = """
function luminance(color) {
  const parts = color.map((each) => {
    const part = each / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
}
function parse(color) {
  return color.match(/[\\d.]+/g).map(Number);
}
function behind(element) {
  for (let each = element; each; each = each.parentElement) {
    const color = parse(getComputedStyle(each).backgroundColor);
    if (color.length === 3 || color[3] > 0) return color.slice(0, 3);
  }
  return [255, 255, 255];
}
const faint = [];
for (const element of document.querySelectorAll("body *")) {
  const own = Array.from(element.childNodes).some(
    (each) => each.nodeType === Node.TEXT_NODE && each.textContent.trim());
  if (!own) continue;
  const front = luminance(parse(getComputedStyle(element).color).slice(0, 3));
  const back = luminance(behind(element));
  const contrast = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  if (contrast < 4.5) faint.push(element.textContent.trim() + ": " + contrast.toFixed(2));
}
return faint;
"""
"""A script: texts whose contrast is less than 4.5 to 1."""
