"""Makes the built site self-contained: no page asks any other host for anything.

The third-party scripts (MathJax, Mermaid, the widget manager) come from book/node_modules and are
copied beside the pages; whatever the stock theme and extensions would fetch is taken out.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import sphinx_thebe
from sphinxcontrib import mermaid

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "book" / "node_modules"

# What is copied from node_modules (patterns), and where to under _static/vendor.
VENDOR = {
    "mathjax/es5/tex-chtml.js": "mathjax",
    "mathjax/es5/output/chtml/fonts/woff-v2/*.woff": "mathjax/output/chtml/fonts/woff-v2",
    "mathjax/es5/input/tex/extensions/*.js": "mathjax/input/tex/extensions",
    "@mermaid-js/tiny/dist/mermaid.tiny.js": "mermaid",
    "@jupyter-widgets/html-manager/dist/embed.js": "widgets",
    "@jupyter-widgets/html-manager/dist/*.woff2": "widgets",
}


# The theme chooses light or dark after the page is drawn, when borders that come with the colors move
# the text. This is done before.
EARLY = """{
  const page = document.documentElement.dataset;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  if (page.theme === "auto") page.theme = dark ? "dark" : "light";
}"""


def copy_vendor(app):
    """Install the packages if need be, and copy what the pages use beside them."""
    if app.builder.format != "html":
        return
    subprocess.run([sys.executable, ROOT / "tools" / "assets.py"], check=True)
    for pattern, folder in VENDOR.items():
        folder = Path(app.outdir, "_static", "vendor", folder)
        folder.mkdir(parents=True, exist_ok=True)
        for source in MODULES.glob(pattern):
            shutil.copy2(source, folder)


def disconnect(app, module, *names):
    """Undo the event listeners of `module` (only those with these names, if any are given)."""
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            handler = listener.handler
            if handler.__module__ == module.__name__ and (not names or handler.__name__ in names):
                app.disconnect(listener.id)


def remove_thebe(app, config):
    """Jupyter Book always loads thebe, which needs a server and fetches its code elsewhere."""
    disconnect(app, sphinx_thebe)
    css = app.registry.css_files
    css[:] = [entry for entry in css if entry[0] != "sphinx-thebe.css"]


def add_page_scripts(app, pagename, templatename, context, doctree):
    """Follow the reader's system for light and dark; load Mermaid only where a diagram is."""
    context["default_mode"] = "auto"
    if doctree and next(doctree.findall(mermaid.mermaid), None):
        # The classic script: a module (the extension's own way) does not load from file://.
        app.add_js_file("vendor/mermaid/mermaid.tiny.js", defer="defer")
        app.add_js_file("diagrams.js", defer="defer")


def frame_digest():
    """Sums up our styles, scripts and extensions, so that a change in one rewrites every page."""
    files = [f for folder in ("_static", "_ext") for f in (ROOT / "book" / folder).rglob("*.*")]
    files = sorted(f for f in files if f.is_file() and "__pycache__" not in f.parts)
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


def mark_built(app, exception):
    """Leave a file that says when the site was last built: the tests refuse one older than it."""
    if exception is None and app.builder.format == "html":
        Path(app.outdir, ".built").touch()


def setup(app):
    app.add_config_value("frame_digest", frame_digest(), "html")
    app.add_js_file(None, body=EARLY)
    app.connect("config-inited", remove_thebe)
    app.connect("builder-inited", copy_vendor)
    disconnect(app, mermaid, "install_js")
    app.connect("html-page-context", add_page_scripts)
    app.connect("build-finished", mark_built)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
