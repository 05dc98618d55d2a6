"""The pages about `minillm`: a directive writes down what a module offers, read from its source.

    ```{api} minillm.numpy_nn.functional minillm.torch_nn.functional
    ```

Of two modules the second holds the twins of the first: each twin follows what it is the twin of,
and says only what differs. Names in single backquotes become links where `minillm` has them, and
works become links to the references. Nothing is imported: the book needs no NumPy, no PyTorch.
"""

import functools
import html
import re
from itertools import groupby
from pathlib import Path

from api_source import PACKAGE, Thing, imports, members, public_modules, source, things, works
from docutils import nodes
from docutils.parsers.rst.states import Inliner
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.parsers import RSTParser
from sphinx.util.docutils import LoggingReporter, SphinxDirective, new_document
from sphinx.util.rst import default_role

HALVES = {"minillm.numpy_nn": "NumPy", "minillm.torch_nn": "PyTorch"}
ITEMIZED = {"Parameters", "Returns", "Yields", "Raises", "Attributes"}
MANY = 8  # fields of a dataclass that a signature does not repeat
REFERENCES = "book/10-references"


class Api(SphinxDirective):
    """``{api} module [twin]``: the module's docstring, then its public things."""

    required_arguments = 1
    optional_arguments = 1

    def run(self):
        for module in self.arguments:
            if source(module) is None:
                raise self.error(f"there is no module {module}")
        for path in [*PACKAGE.rglob("*.py"), *Path(__file__).parent.glob("*.py")]:
            self.env.note_dependency(str(path))  # a page links what other modules have
        self.lines = StringList()
        self.described = []  # (thing, module), in the order in which they are written
        self.head()
        module, *twin = self.arguments
        twins = {thing.name: thing for thing in things(twin[0])} if twin else {}
        for _, group in groupby(things(module), key=same_statement):
            thing, *others = group
            self.entry(thing, module, others=others)
            if thing.name in twins:
                self.entry(twins.pop(thing.name), twin[0], beside=thing, listed=False)
        for thing in twins.values():
            self.entry(thing, twin[0])
        return self.read()

    # Writing reStructuredText. Each line knows the file that it comes from, for messages.

    def write(self, *lines, thing=None, indent=0):
        where = (str(thing.path), thing.docs_line) if thing else self.get_source_info()
        for line in lines:
            self.lines.append(" " * indent + line if line else "", *where)

    def head(self):
        """How the modules are imported, and what their docstrings say; no paragraph twice."""
        if any(map(things, self.arguments)):
            ways = ["from {} import {}".format(*m.rpartition(".")[::2]) for m in self.arguments]
            self.write("", ".. code-block:: python", "", *(f"   {way}" for way in ways))
        said = set()
        for module in self.arguments:
            self.write("", f".. py:module:: {module}", "")
            paragraphs = re.split(r"\n\n(?=\S)", source(module).docs)
            new = [p.splitlines() for p in paragraphs if comparable(p) not in said]
            said |= set(map(comparable, paragraphs))
            if pair := new and len(self.arguments) > 1:
                self.write(f".. container:: half-docs {half(module).lower()}", "")
            for lines in new:
                self.write(*lines, "", indent=3 * bool(pair))

    def entry(self, thing, module, *, others=(), beside=None, listed=True, indent=0):
        """One thing: its signature, its docstring, and its members.

        `others` are values set by the same statement, `beside` is the twin written before it, and
        `listed` says whether the page's contents name it.
        """
        self.described.append((thing, module))
        write = lambda *lines, more=3: self.write(*lines, thing=thing, indent=indent + more)
        option = f":{thing.kind}:" if thing.kind in ("classmethod", "staticmethod") else ""
        kind = "method" if option else thing.kind
        names = [f"{thing.name}{called(thing)}", *(other.name for other in others)]
        write("", f".. py:{kind}:: {names[0]}", *(f"   {name}" for name in names[1:]), more=0)
        hidden = "" if listed else ":no-contents-entry:"
        write(f":module: {module}", *filter(None, [option, hidden]), "")
        docs = thing.docs
        if beside:
            docs = differing(docs, beside.docs)
            if words(docs) != words(thing.docs) and kind in ("function", "class"):
                more = {name for name, _ in docs} - {"Examples"}
                write("As in NumPy, above" + (", but for this:" if more else "."), "")
        for name, lines in docs:
            write(*([f".. rubric:: {name}", ""] if name else []))
            write(*(items(lines, name) if name in ITEMIZED else lines), "")
        if lists_fields(thing):
            write(".. rubric:: Fields", "", *field_items(thing), "")
        if thing.bases:
            write(f"Inherits from {', '.join(f'`{base}`' for base in thing.bases)}.", "")
        twins = {member.name: member for member in beside.members} if beside else {}
        for member in thing.members:
            twin = twins.get(member.name)
            self.entry(member, module, beside=twin, listed=listed, indent=indent + 3)

    # Reading it.

    def read(self):
        document = new_document(self.env.doc2path(self.env.docname), self.state.document.settings)
        document.reporter = LoggingReporter.from_reporter(document.reporter)
        parser = RSTParser(inliner=plain_inliner())
        parser.set_application(self.env.app)
        with default_role(self.env.docname, "minillm-name"):
            parser.parse(self.lines, document)
        pair = len(self.arguments) > 1
        for docs in document.findall(nodes.container):
            if pair and "half-docs" in docs["classes"]:
                module = self.arguments["pytorch" in docs["classes"]]
                docs[0].insert(0, nodes.inline("", half(module), classes=["half"]))
        places = dict(zip(document.findall(addnodes.desc), self.described, strict=True))
        for description, (thing, module) in places.items():
            finish(description, thing, half(module) if pair else "")
        for literal in list(document.findall(nodes.literal)):
            if "minillm-name" in literal["classes"]:
                self.link(literal, places)
        cite(document, self.env)
        return document.children

    def link(self, literal, places):
        """Make a link of a name that `minillm` has, unless an argument of that name is meant."""
        literal["classes"].remove("minillm-name")
        above = literal.parent
        while above is not None and above not in places:
            above = above.parent
        thing, module = places.get(above, (Thing("module", "", PACKAGE, 0), self.arguments[0]))
        text = literal.astext().removesuffix("()")
        arguments = {argument.lstrip("*").partition("=")[0] for argument in thing.arguments}
        if text in arguments | {name for name, *_ in thing.fields}:
            return
        owner = thing.name if thing.kind == "class" else thing.name.rpartition(".")[0]
        package = module if source(module).path.stem == "__init__" else module.rpartition(".")[0]
        first, dot, rest = text.partition(".")
        tries = [f"{place}.{text}" for place in (f"{module}.{owner}", module, package)]
        tries += [imports(source(module)).get(first, first) + dot + rest]
        target = next((name for name in tries if name in known()), None)
        if target:
            link = pending(self.env, "py", "mod" if source(target) else "obj", target)
            literal.replace_self(link)
            link += literal


def same_statement(thing):
    """What values that one statement sets have in common."""
    return (thing.path, thing.line) if thing.kind == "data" else thing.name


@functools.cache
def known():
    """The full names of everything that has an entry."""
    names = [f"{m}.{thing.name}" for m in public_modules() for thing in members(m)]
    return {*public_modules(), *names}


def half(module):
    """Which half of the package a module belongs to, if any."""
    return next((half for package, half in HALVES.items() if f"{module}.".startswith(package)), "")


def comparable(text):
    """What texts are compared by: an array of NumPy says what a tensor of PyTorch says."""
    text = re.sub(r"\btensor\b", "array", " ".join(text.split()))
    return text.replace("torch.Generator", "numpy.random.Generator")


def words(docs):
    return [word for _, lines in docs for line in lines for word in line.split()]


def differing(docs, others):
    """What the sections of a docstring say and those of another do not, and the examples."""
    found = []
    for name, lines in docs:
        parts = r"\n+(?=\S)" if name in ITEMIZED else r"\n\n(?=\S)"  # items or paragraphs
        split = lambda lines, parts=parts: re.split(parts, "\n".join(lines))
        said = {comparable(part) for part in split(dict(others).get(name, []))}
        new = [part for part in split(lines) if comparable(part) not in said]
        if name == "Examples":
            new = split(lines)
        found += [(name, "\n\n".join(new).splitlines())] if new else []
    return found


def called(thing):
    """The arguments as the signature shows them; not what a list of fields below says better."""
    if thing.kind in ("data", "property"):
        return ""
    short = lists_fields(thing) and len(thing.fields) > MANY
    return f"({', '.join(a for a in thing.arguments if not (short and '=' in a))})"


def lists_fields(thing):
    """Whether the fields of a dataclass are told by their comments, not by its docstring."""
    return bool(thing.fields) and not thing.section("Parameters")


def field_items(thing):
    """The fields of a dataclass, as a definition list."""
    for name, kind, default, comment in thing.fields:
        default = f", default ``{default}``" if default else ""
        yield from (f"``{name}`` : {kind}{default}", f"    {comment or '..'}", "")


def items(lines, section):
    """A section of ``name : type`` and indented text, as a definition list."""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if not line or line.startswith(" "):
            yield line
            continue
        names, colon, kind = line.partition(" : ")
        if colon or section not in ("Returns", "Yields"):  # those may give a type alone
            names = ", ".join(f"``{name}``" for name in names.split(", "))
        yield from ("", f"{names}{colon}{kind}")
        if not following.startswith(" "):
            yield "    .."


def plain_inliner():
    """Bars and trailing underscores are mathematics in a docstring, never references."""

    def as_it_is(inliner, match, lineno):
        return match.string[: match.end()], [], match.string[match.end() :], []

    inliner = Inliner()
    inliner.dispatch = Inliner.dispatch | dict.fromkeys(["|", "_", "__", "]_"], as_it_is)
    return inliner


def name_role(role, rawtext, text, lineno, inliner, options=None, content=None):
    """A name in single backquotes: code for now, linked when the whole page is read."""
    return [nodes.literal(rawtext, text, classes=["minillm-name"])], []


def finish(description, thing, half):
    """Complete an entry: defaults as they are written, which half it is of, and the code."""
    signature = description[0]
    signature["_toc_name"] = signature["_toc_name"].replace("_", "_\u200b")  # may be broken there
    written = [argument.partition("=")[2] for argument in thing.arguments if "=" in argument]
    shown = [n for n in signature.findall(nodes.inline) if "default_value" in n["classes"]]
    for node, default in zip(shown, written, strict=bool(shown)):
        node.clear()
        node += nodes.Text(default)
    if written and not shown:
        signature[-1] += addnodes.desc_parameter("", "…")
    if "." in thing.name:
        return
    if half:
        signature.insert(0, nodes.inline("", half, classes=["half"]))
        description["classes"].append(half.lower())
    if thing.code:
        description[-1] += code(thing)


def code(thing):
    """The code of a thing, folded away; a value's stays in sight."""
    block = nodes.literal_block(thing.code, thing.code, language="python")
    if thing.kind == "data":
        return [block]
    place = html.escape(f"{thing.path.relative_to(PACKAGE).as_posix()}, line {thing.line}")
    fold = f'<details class="source"><summary>Source <small>{place}</small></summary>'
    return [nodes.raw("", fold, format="html"), block, nodes.raw("", "</details>", format="html")]


def cite(document, env):
    """Link works, as in "Kingma & Ba 2015", to the references."""
    keys = env.get_domain("cite").bibdata.data.entries
    for text in list(document.findall(nodes.Text)):
        if isinstance(text.parent, nodes.literal | nodes.FixedTextElement):
            continue
        parts, done = [], 0
        for start, end, key in works(text, keys):
            if key:
                link = pending(env, "doc", "myst", REFERENCES, reftargetid=key)
                link += nodes.inline("", text[start:end])
                parts += [nodes.Text(text[done:start]), link]
                done = end
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(text[done:])])


def pending(env, domain, kind, target, **options):
    """A link that Sphinx completes when all pages are read, and complains about if it cannot."""
    options |= {"refdomain": domain, "reftype": kind, "reftarget": target}
    return addnodes.pending_xref("", refdoc=env.docname, refexplicit=True, refwarn=True, **options)


def setup(app):
    app.add_role("minillm-name", name_role)
    app.add_directive("api", Api)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
