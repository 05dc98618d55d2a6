"""The buttons that need the repository's address: Colab on notebooks, repository and issues.

The address stands in one place, `[project.urls]` of pyproject.toml, and is written there by
`make repository NAME=owner/name`. Until then no page shows any of these buttons.
"""

import re
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
COLAB = "https://colab.research.google.com/github/{name}/blob/{branch}/{page}.ipynb"
BRANCH = "main"


def repository(pyproject=PYPROJECT):
    """The repository's address, or "" while it is not set (Python 3.10 has no TOML reader)."""
    text = pyproject.read_text(encoding="utf-8")
    found = re.search(
        r'^\[project\.urls\][^\[]*?^Repository\s*=\s*"([^"]+)"', text, re.MULTILINE | re.DOTALL
    )
    return found[1].rstrip("/").removesuffix(".git") if found else ""


def set_options(app, config):
    """Give the theme its options. (Set in _config.yml, they would drop Jupyter Book's own.)"""
    options = config.html_theme_options
    options["navbar_persistent"] = []  # the sidebar has the search field already
    options["primary_sidebar_end"] = []  # a place for advertisements
    options["footer_content_items"] = ["extra-footer.html"]
    url = config.repository_address
    for key in ("launch_buttons", "repository_url", "repository_branch", "path_to_docs"):
        options.pop(key, None)
    if url:
        options |= {"repository_url": url, "repository_branch": BRANCH}
        options |= {"use_repository_button": True, "use_issues_button": True}


def add_colab(app, pagename, templatename, context, doctree):
    """Put the Colab button first on a notebook's page."""
    url = app.config.repository_address
    if url and Path(app.env.doc2path(pagename)).suffix == ".ipynb":
        name = "/".join(url.split("/")[-2:])
        button = {
            "type": "link",
            "url": COLAB.format(name=name, branch=BRANCH, page=pagename),
            "text": "Colab",
            "icon": "fas fa-rocket",
            "tooltip": "Run this notebook in Google Colab",
            "label": "colab-button",
        }
        context["header_buttons"].insert(0, button)


def setup(app):
    app.add_config_value("repository_address", repository(), "html")  # a change rebuilds the pages
    app.connect("config-inited", set_options)
    app.connect("html-page-context", add_colab, priority=600)  # after the theme's own buttons
    return {"parallel_read_safe": True, "parallel_write_safe": True}
