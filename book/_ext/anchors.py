"""Lets plain Markdown links reach glossary terms, references, errata and the package's names.

    [logits](../book/glossary.md#term-logits)      [Bridle 1990](../book/10-references.md#bridle1990)
    [shown](../notebooks/04-1-softmax.ipynb#erratum-e10), whatever its heading says after "E10:"
    [`perplexity`](../book/api/metrics.md#minillm.metrics.perplexity)

MyST resolves `page.md#anchor` from a table of the page's headings, its `myst_slugs`. We add these
to it; a link to one that does not exist is then a warning of the build.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinxcontrib.bibtex.nodes import bibliography


def add_anchors(app, doctree):
    """Enter this page's terms (lower case, as `term-…`), references (by key), errata and names."""
    metadata = app.env.metadata[app.env.docname]
    slugs = metadata.get("myst_slugs", {})
    anchors = {}
    for slug, heading in slugs.items():
        if number := re.match(r"erratum-e\d+", slug):
            anchors[number[0]] = heading
    for term in doctree.findall(nodes.term):
        for anchor in term["ids"]:
            anchors[anchor.lower()] = (term.line, anchor, term.astext())
    for signature in doctree.findall(addnodes.desc_signature):
        for anchor in signature["ids"]:
            anchors[anchor] = (signature.line, anchor, signature["fullname"])
    if next(doctree.findall(bibliography), None):
        for key in app.env.get_domain("cite").bibdata.data.entries:
            anchors[key] = (None, key, key)
    if anchors:
        metadata["myst_slugs"] = {**anchors, **slugs}


def setup(app):
    app.connect("doctree-read", add_anchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
