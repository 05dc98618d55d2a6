"""Writes each picture's width and height into its page, so that no text jumps as pictures load."""

import re
from pathlib import Path

import imagesize

IMG = re.compile(r'<img(?![^>]*\swidth=)(?P<rest>[^>]*\ssrc="(?:[^"]*/)?_images/(?P<name>[^"/]+)")')


def add_sizes(app, pagename, templatename, context, doctree):
    files = {name: source for source, name in getattr(app.builder, "images", {}).items()}

    def sized(match):
        source = Path(app.srcdir, files.get(match["name"], ""))
        width, height = imagesize.get(source) if source.is_file() else (-1, -1)
        size = f' width="{width}" height="{height}"' if width > 0 else ""
        return f"<img{size}{match['rest']}"

    if "body" in context:
        context["body"] = IMG.sub(sized, context["body"])


def setup(app):
    app.connect("html-page-context", add_sizes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
