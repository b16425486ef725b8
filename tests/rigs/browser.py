# SPDX-License-Identifier: BSD-3-Clause
"""Chromium for tests of pages, where it is installed (scripts/packages-all.txt)."""
import contextlib
import shutil

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
except ImportError:
    CHROMIUM = None

needs_browser = pytest.mark.skipif(not CHROMIUM or not DRIVER,
                                   reason="no browser here: `make test-all` installs one, and so does `scripts/bootstrap --all`")


@contextlib.contextmanager
def opened():
    """A browser without a screen, that keeps what its console says."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # As root there is no sandbox; what is opened is our own.
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(DRIVER), options=options)
    try:
        yield driver
    finally:
        driver.quit()
