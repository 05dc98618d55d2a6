"""The built site, page by page, in a real browser with no way to any other host."""

import os
import re
import shutil
from pathlib import Path

import browser
import pytest
import yaml
from page_check import ROOT, look, opened

from book._ext import api_source

SITE = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
CHAPTERS = [page for part in TOC["parts"] for page in part["chapters"]]
SECTIONS = [section for page in CHAPTERS for section in page.get("sections", [])]
PAGES = [TOC["root"]] + [page["file"] for page in CHAPTERS + SECTIONS]
OTHER_PAGES = ["genindex", "search"]  # made by Sphinx
WIDTHS = (360, 1280)


def sources():
    """The files that the site is made from."""
    yield from (ROOT / name for name in ("_config.yml", "_toc.yml", "pyproject.toml"))
    yield from (ROOT / "notebooks").glob("*.ipynb")
    yield from (ROOT / "minillm").rglob("*.py")  # the package's pages
    for folder, folders, files in os.walk(ROOT / "book"):
        folders[:] = [name for name in folders if name not in ("node_modules", "__pycache__")]
        yield from (Path(folder, name) for name in files)


@pytest.fixture(scope="session")
def site():
    built = SITE / ".built"
    if not built.exists():
        pytest.fail("the site is not built: make book (or: python tools/build.py)", pytrace=False)
    newer = [path for path in sources() if path.stat().st_mtime > built.stat().st_mtime]
    if newer:
        names = ", ".join(str(path.relative_to(ROOT)) for path in newer[:5])
        pytest.fail(f"the built site is older than {names}: make book", pytrace=False)
    return SITE


@pytest.fixture(scope="session")
def served(site):
    with browser.Server(site) as server:
        yield server


@pytest.fixture(scope="session")
def moved(site, tmp_path_factory):
    """The site as a folder that was copied somewhere else, to a path that needs quoting."""
    folder = tmp_path_factory.mktemp("moved") / "a USB stick – Büch"
    return shutil.copytree(site, folder)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", PAGES + OTHER_PAGES)
def test_page_is_right_over_http(chromium, served, page, width):
    url = f"{served.url}/{page}.html"
    axe = ("light",) if width == 360 else ("light", "dark")  # colors do not depend on the width
    sent = lambda: served.sent
    complaints = look(chromium, url, width=width, base=served.url, axe=axe, sent=sent)
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("page", PAGES + OTHER_PAGES)
def test_page_is_right_from_a_moved_folder(chromium, moved, page):
    url = (moved / f"{page}.html").as_uri()
    complaints = look(chromium, url, width=1280, base=moved.as_uri(), axe=())
    assert not complaints, "\n".join(complaints)


def test_first_page_opens_from_the_top_folder(chromium, moved):
    with chromium.new_page() as page:
        page.goto((moved / "index.html").as_uri())
        page.wait_for_url((moved / f"{TOC['root']}.html").as_uri())


def test_search_finds_a_word_from_a_folder(chromium, moved):
    url = (moved / "search.html").as_uri() + "?q=glossary"
    with opened(chromium, url, 1280, moved.as_uri()) as (page, complaints):
        page.wait_for_selector("#search-results li", timeout=5000)
        assert not complaints, "\n".join(complaints)


def test_every_public_name_has_an_entry(site):
    entries = set()
    for page in (page for page in PAGES if page.startswith("book/api/")):
        html = (site / f"{page}.html").read_text(encoding="utf-8")
        entries |= set(re.findall(r'<dt class="sig [^>]*\sid="([^"]+)"', html))
    modules = api_source.public_modules()
    names = {f"{name}.{thing.name}" for name in modules for thing in api_source.members(name)}
    assert names - entries == set()


def test_search_finds_a_name_of_the_package(chromium, moved):
    url = (moved / "search.html").as_uri() + "?q=log_softmax"
    with opened(chromium, url, 1280, moved.as_uri()) as (page, complaints):
        page.wait_for_selector(
            "#search-results li a[href*='functional.html#minillm']", timeout=5000
        )
        assert not complaints, "\n".join(complaints)


def test_phone_menu_opens(chromium, served):
    with opened(chromium, f"{served.url}/{PAGES[0]}.html", 360, served.url) as (page, complaints):
        page.click(".primary-toggle:visible")
        page.wait_for_selector("nav.bd-docs-nav a:visible", timeout=3000)
        assert not complaints, "\n".join(complaints)


def test_every_link_inside_the_site_leads_somewhere(site):
    """Sphinx checks the links it makes; these are all there are, fragments included."""
    anchors = {}
    missing = []

    def ids(path):
        if path not in anchors:
            anchors[path] = set(re.findall(r'\sid="([^"]+)"', path.read_text(encoding="utf-8")))
        return anchors[path]

    for page in PAGES:
        path = site / f"{page}.html"
        for href in re.findall(r'<a [^>]*href="([^"]+)"', path.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", href) or href == "#":
                continue
            target, _, fragment = href.partition("#")
            file = (path.parent / target).resolve() if target else path
            if (
                not file.is_file()
                or fragment
                and file.suffix == ".html"
                and fragment not in ids(file)
            ):
                missing.append(f"{page}: {href}")
    assert not missing, "\n".join(missing)
