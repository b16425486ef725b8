# SPDX-License-Identifier: BSD-3-Clause
"""vmux-web's page in a browser."""
import contextlib
import re
from types import SimpleNamespace

import pytest
from browser import needs_browser, opened  # in tests/rigs, put on the path by harness
from harness.vmm import attach
from harness.vmux import Vmux, wait_until
from harness.web import Web

with contextlib.suppress(ImportError):  # then there is no browser either
    from selenium.webdriver.common.by import By

pytestmark = [pytest.mark.exhaustive, needs_browser]


@pytest.fixture(scope="module")
def browser():
    with opened() as driver:
        yield driver


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    directory = tmp_path_factory.mktemp("page")
    vmux = Vmux(directory / "vmux").start()
    vmux.ctl("uplink", "add", "sink", "--backend", "sink")
    vmux.ctl("uplink", "add", "gen", "--backend", "generator", "--device", "size=1514,to=02:00:00:73:6e:6b")
    vmux.ctl("uplink", "add", "lost", "--backend", "generator", "--device", "size=64,to=02:00:00:00:00:99")  # which nobody has: to all
    vmux.add_port("vm0")
    vmux.add_port("vm1", "--link", "down", model="virtio-net")
    made = SimpleNamespace(vmux=vmux, web=Web(directory, vmux.rpc).start(), vmm=attach(vmux.socket("vm0")))
    yield made
    made.web.stop()
    vmux.stop()


@pytest.fixture
def page(browser, shown):
    """The page, anew; at the end nothing has gone wrong in it, and nothing was against its policy."""
    browser.set_window_size(1200, 900)
    browser.get_log("browser")
    browser.get(f"http://localhost:{shown.web.port}/")
    text_of(browser, "#state", lambda text: text == "The daemon answers")
    yield browser
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def text_of(browser, selector, is_it):
    """Of the first element; once it is as it should be."""
    found = lambda: browser.find_element(By.CSS_SELECTOR, selector).text
    wait_until(lambda: is_it(found()), f"{selector} of the page; it is {found()!r}")
    return found()


def card(browser, name):
    return next(each for each in browser.find_elements(By.CSS_SELECTOR, ".card") if each.find_element(By.TAG_NAME, "h3").text == name)


def test_ports_have_graphs_that_live(page):
    text_of(page, "#cards", lambda text: all(name in text for name in ("vm0", "vm1", "gen", "sink")))
    assert "a VM is attached, its driver is not up" in card(page, "vm0").text
    assert "the cable is pulled" in card(page, "vm1").text
    assert "the link is up" in card(page, "gen").text
    points = lambda: len(re.findall("[ML]", card(page, "gen").find_element(By.CSS_SELECTOR, ".line.in").get_attribute("d")))
    wait_until(lambda: points() >= 2, "a second point of the graph")
    before = points()
    wait_until(lambda: points() > before, "the graph to go on")
    assert re.search(r"\d bit/s|[kMG]bit/s", card(page, "gen").find_element(By.CSS_SELECTOR, "svg").get_attribute("aria-label"))


def test_topology_names_all_and_whether_they_are_up(page):
    label = page.find_element(By.CSS_SELECTOR, "#map svg").get_attribute("aria-label")
    assert label.startswith("switch default: ")
    for said in ("vm0 driver down", "vm1 cable pulled", "gen up", "sink up"):
        assert said in label
    assert {each.text for each in page.find_elements(By.CSS_SELECTOR, "#map text")} >= {"vm0", "vm1", "gen", "sink", "default"}


def test_tables_tell_of_drops_addresses_pollers_and_events(page):
    text_of(page, "#macs-table", lambda text: "02:00:00:73:6e:6b" in text and "sink" in text)
    text_of(page, "#drops-table", lambda text: "not ready" in text)
    text_of(page, "#pollers-table", lambda text: "%" in text)
    text_of(page, "#events-table", lambda text: "client attached" in text and "vm0" in text)
    page.find_element(By.ID, "macs-filter").send_keys("no such thing")
    text_of(page, "#macs-table", lambda text: text == "No such address.")


def test_only_ports_that_are_asked_for_are_shown(page):
    text_of(page, "#cards", lambda text: "vm1" in text)
    page.find_element(By.ID, "ports-filter").send_keys("VIRTIO")
    text_of(page, "#cards", lambda text: "vm1" in text and "vm0" not in text)


def test_findings_are_hidden_unless_there_is_a_doctor(page, shown):
    has_doctor = shown.vmux.ctl_run("doctor", "--help").returncode == 0  # vmuxctl has what the daemon has
    wait_until(lambda: page.find_element(By.ID, "findings").is_displayed() == has_doctor, "the findings, or that there is no place for them")


def test_nothing_is_wider_than_a_narrow_screen(page):
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True})
    try:
        text_of(page, "#cards", lambda text: "vm0" in text)
        assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# [WCAG] 1.4.3: text has a contrast of 4.5 at least.
CONTRAST = """
const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
const part = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
const light = (rgb) => 0.2126 * part(rgb[0]) + 0.7152 * part(rgb[1]) + 0.0722 * part(rgb[2]);
const ground = (element) => {
  for (; element; element = element.parentElement) {
    const colour = numbers(getComputedStyle(element).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
let least = 21;
for (const element of document.querySelectorAll("h1, h2, h3, p, a, dt, dd, th, td, span, small, label")) {
  if (element.textContent.trim() === "" || element.closest("[hidden], noscript, .skip")) continue;
  const a = light(numbers(getComputedStyle(element).color)), b = light(ground(element));
  least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
}
return least;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_the_light_and_in_the_dark(page, scheme):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    text_of(page, "#cards", lambda text: "vm0" in text)
    ground = [int(part) for part in re.findall(r"\d+", page.execute_script("return getComputedStyle(document.body).backgroundColor"))][:3]
    assert (sum(ground) > 600) if scheme == "light" else (sum(ground) < 150)
    assert page.execute_script(CONTRAST) >= 4.5


# The last: the daemon is another one behind it.
def test_a_daemon_that_is_away_is_told_and_met_again(page, shown):
    text_of(page, "#cards", lambda text: "vm0" in text)
    assert not page.find_element(By.ID, "away").is_displayed()
    shown.vmux.stop()
    text_of(page, "#state", lambda text: text == "The daemon is away")
    text_of(page, "#away", lambda text: "There is no answer" in text and "What is below is old." in text)
    assert "vm0" in page.find_element(By.ID, "cards").text
    shown.vmux.start()
    text_of(page, "#state", lambda text: text == "The daemon answers")
    text_of(page, "#cards-more", lambda text: text == "There are no ports yet.")
    assert not page.find_element(By.ID, "away").is_displayed()
