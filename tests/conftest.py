"""Fixtures for more than one test file."""

import browser
import pytest
from playwright.sync_api import sync_playwright


@pytest.fixture(scope="session")
def chromium():
    """One headless browser for the whole run; skips where there is none (see `browser`)."""
    path = browser.executable()
    with sync_playwright() as playwright:
        process = playwright.chromium.launch(executable_path=path, args=browser.FLAGS)
        yield process
        process.close()
