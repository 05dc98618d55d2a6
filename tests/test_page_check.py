"""Tests of the test: a page with a planted fault is complained about, a sound one is not."""

import pytest
from browser import Server
from page_check import MAX_BYTES, look

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">{head}</head>
<body><main><article><h1>A page</h1><p>Some text.</p>{body}</article></main></body></html>"""

DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)

# name: (what is planted in the page's body, a part of the complaint)
FAULTS = {
    "broken image": ('<img src="missing.png" alt="a curve">', "image not loaded"),
    "no alt text": (f'<img src="{DOT}" alt="">', "image without alt text"),
    "file name as alt text": (f'<img src="{DOT}" alt="_images/3f.png">', "image without alt text"),
    "missing script": ('<script src="missing.js"></script>', "answered 404"),
    "another host": ('<script src="https://example.org/x.js"></script>', "request to another"),
    "wide page": ('<div style="width: 2000px">wide</div>', "page is 20"),
    "cut off": (
        '<div style="overflow: hidden"><pre style="width: 2000px; overflow: hidden">x</pre></div>',
        "reaches out of the page",
    ),
    "console error": ("<script>console.error('no')</script>", "console: no"),
    "exception": ("<script>undefined.x</script>", "script error"),
    "raw maths": ("<p>The score $z_i$ is real.</p>", "raw $"),
    "equation not rendered": ('<div class="math">\\[x\\]</div>', "equation not rendered"),
    "error in an equation": ("<mjx-merror>Undefined control sequence</mjx-merror>", "error in an"),
    "diagram not drawn": ('<pre class="mermaid">flowchart LR</pre>', "diagram not drawn"),
    "faint text": ('<p style="color: #bbb">faint</p>', "color-contrast"),
    "nameless button": ("<button></button>", "button-name"),
    "box out of the keyboard's reach": (
        '<div style="overflow: auto; width: 90px; height: 60px"><p style="width: 300px">a</p></div>',
        "not by keyboard",
    ),
    "text that jumps": (
        """<div id="late"></div><p style="height: 500px">below</p><script>
        setTimeout(() => document.getElementById("late").style.height = "400px", 300);
        window.MathJax = {startup: {promise: new Promise((go) => setTimeout(go, 500))}};</script>""",
        "layout shift",
    ),
    "heavy": ('<script src="heavy.js"></script>', "bytes transferred"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def server(folder):
    with Server(folder) as server:
        yield server


def complaints_about(chromium, server, folder, body, head=""):
    (folder / "page.html").write_text(PAGE.format(head=head, body=body), encoding="utf-8")
    url = f"{server.url}/page.html"
    sent = lambda: server.sent
    return look(chromium, url, width=360, base=server.url, sent=sent, patience=500)


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_found(chromium, server, folder, fault):
    body, expected = FAULTS[fault]
    if fault == "heavy":  # what does not compress
        noise = "".join(f"//{hash((i, 'x')):x}\n" for i in range(MAX_BYTES // 7))
        (folder / "heavy.js").write_text(noise)
    found = complaints_about(chromium, server, folder, body)
    assert any(expected in complaint for complaint in found), found


def test_sound_page_has_no_complaint(chromium, server, folder):
    body = f"""<img src="{DOT}" alt="a dot"><pre tabindex="0" style="overflow: auto">{"x" * 200}</pre>
    <p>A sum of <code>$5</code>.</p>"""
    assert complaints_about(chromium, server, folder, body) == []
