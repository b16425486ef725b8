# SPDX-License-Identifier: BSD-3-Clause
"""The site of `make docs` in a browser, opened as a file: there no page may read another file, and nothing but scripts and links works."""
import contextlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/rigs"))
from browser import needs_browser, opened  # noqa: E402  (found through the line above)

with contextlib.suppress(ImportError):  # then there is no browser either
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

SITE = ROOT / "build/docs/site"
pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser():
    with opened() as driver:
        yield driver


@pytest.fixture
def page(browser):
    """Opens a page; at the end, nothing has gone wrong in it."""
    yield lambda name: browser.get((SITE / name).as_uri())
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def wait_for(browser, found):
    return WebDriverWait(browser, 30).until(found)


def search(browser, text):
    box = browser.find_element(By.ID, "search")
    box.clear()
    box.send_keys(text)


def hits(browser):
    return {link.text: link for link in browser.find_elements(By.CSS_SELECTOR, "#search-results a")}


def test_search_leads_to_the_section_that_has_the_words(browser, page):
    page("index.html")
    search(browser, "eventfds which kvm reads")
    hit = wait_for(browser, lambda _: hits(browser).get("Why no UDP: Why a UNIX socket, and no UDP, TCP or vsock"))
    assert len(hits(browser)) == 1
    hit.click()
    wait_for(browser, lambda _: re.search(r"/no-udp\.html#", browser.current_url))
    assert "Interrupts are eventfds" in browser.find_element(By.TAG_NAME, "main").text


def test_search_works_on_a_page_in_a_directory_and_puts_titles_first(browser, page):
    page("tutorial/c.html")
    search(browser, "threads")
    hit = wait_for(browser, lambda _: hits(browser).get("Threads: Whose thread is it"))
    assert all("Threads" in title for title in list(hits(browser))[:4]), list(hits(browser))
    hit.click()
    wait_for(browser, lambda _: browser.title.startswith("Threads"))


def test_search_says_that_there_is_nothing(browser, page):
    page("index.html")
    search(browser, "threads zyxwvut")
    wait_for(browser, lambda _: browser.find_element(By.ID, "search-results").text == "Nothing was found")


def test_links_lead_from_page_to_page_and_to_the_references(browser, page):
    page("index.html")
    browser.find_element(By.LINK_TEXT, "the reference").click()
    wait_for(browser, lambda _: browser.title.startswith("Reference"))
    browser.find_element(By.LINK_TEXT, "libvfio-user, C").click()
    wait_for(browser, lambda _: "vfu_run_ctx" in browser.page_source)
    browser.back()
    browser.find_element(By.LINK_TEXT, "Tutorial, Python").click()
    wait_for(browser, lambda _: browser.find_element(By.CSS_SELECTOR, "nav .here").text == "Tutorial, Python")
