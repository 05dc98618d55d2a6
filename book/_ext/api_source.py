"""Reads what `minillm` offers from its source, without importing it: the book needs no PyTorch.

`public_modules()` names the modules that readers may use; `things(module)` gives what each offers,
with its arguments, its docstring by sections, and its code.
"""

import ast
import functools
import io
import re
import textwrap
import tokenize
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "minillm"
HELPERS = {  # serve other modules, not readers
    "minillm.checks", "minillm.compare", "minillm.files", "minillm.terminal",
}  # fmt: skip
METHODS = {"classmethod": "classmethod", "staticmethod": "staticmethod", "property": "property"}
METHODS |= {"cached_property": "property"}

# A work as docstrings name it: "Kingma & Ba 2015", "Pascanu et al. 2013".
NAME = r"[A-Z][\w-]+(?:\s[A-Z][\w-]+)*"
WORK = re.compile(rf"({NAME})(?:(?:,|\s&|\sand)\s{NAME})*(?:\set\sal\.)?,?\s((?:18|19|20)\d\d)\b")


@dataclass
class Thing:
    """A function, class, method, property or value, as its source has it."""

    kind: str
    name: str  # within its module: "softmax", "Optimizer.step"
    path: Path
    line: int
    docs: list = field(default_factory=list)  # of the docstring: (section, its lines), "" first
    docs_line: int = 1
    arguments: list = field(default_factory=list)  # "x", "*", "axis=-1"
    bases: list = field(default_factory=list)
    fields: list = field(default_factory=list)  # of a dataclass: (name, type, default, comment)
    members: list = field(default_factory=list)  # a class's methods and properties
    methods: set = field(default_factory=set)  # the names of those, and of those it inherits
    code: str = ""  # without docstrings

    def section(self, name):
        """The lines of one section of the docstring; none where it has no such section."""
        return dict(self.docs).get(name, [])


@dataclass
class Source:
    """A file of the package."""

    name: str
    path: Path
    text: str
    tree: ast.Module
    comments: dict  # of each line that has one

    @property
    def docs(self):
        return ast.get_docstring(self.tree) or ""

    def segment(self, node):
        """The source of an expression, on one line."""
        return " ".join(ast.get_source_segment(self.text, node).split())


@functools.cache
def source(name):
    """The file of a module, or None where there is no such module."""
    path = ROOT.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = {t.start[0]: t.string for t in tokens if t.type == tokenize.COMMENT}
    return Source(name, path, text, ast.parse(text), comments)


def offered(file):
    """The names that a module offers: its `__all__`, else what it defines without underscore."""
    for node in file.tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.literal_eval(node.value)
    definitions = (ast.FunctionDef, ast.ClassDef)
    names = [node.name for node in file.tree.body if isinstance(node, definitions)]
    return [name for name in names if not name.startswith("_")]


def has_all(name):
    return "\n__all__ = " in source(name).text


@functools.cache
def public_modules():
    """The modules that readers may use: helpers are not, nor parts of a package with `__all__`."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        packages = [".".join(parts[:n]) for n in range(2, len(parts))]
        name = ".".join(parts)
        if parts[-1] != "__main__" and name not in HELPERS and not any(map(has_all, packages)):
            found.append(name)
    return found


@functools.cache
def things(name):
    """What a module offers, in the order of its source; what it only imports comes last."""
    file = source(name)
    found = [find(file, public) for public in offered(file)]
    return sorted(found, key=lambda thing: (thing.path != file.path, thing.path, thing.line))


def members(name):
    """What a module offers, the methods and properties of its classes included."""
    return [inner for thing in things(name) for inner in (thing, *thing.members)]


def find(file, name):
    """What `name` stands for at the top of a file, in whichever file of the package it is made."""
    for node in file.tree.body:
        if getattr(node, "name", None) == name:
            return read(file, node)
        if isinstance(node, ast.Assign) and name in assigned(node):
            code = ast.get_source_segment(file.text, node)
            return Thing("data", name, file.path, node.lineno, remark(file, node), code=code)
    if name not in imports(file):
        raise LookupError(f"{file.name} offers {name}, which is not defined there")
    full = imports(file)[name]
    if other := source(full.rpartition(".")[0]):
        return find(other, full.rpartition(".")[2])
    return Thing("data", name, file.path, 1, [("", [f"Stands for ``{full}``."])])


def imports(file):
    """What a file imports at its top: {"F": "minillm.numpy_nn.functional"}."""
    found = {}
    package = file.name if file.path.stem == "__init__" else file.name.rpartition(".")[0]
    for node in file.tree.body:
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else []:
            where = getattr(node, "module", None)
            if level := getattr(node, "level", 0):
                above = package.split(".")[: len(package.split(".")) + 1 - level]
                where = ".".join(above + [where] * bool(where))
            full = f"{where}.{alias.name}" if where else alias.name
            found[alias.asname or alias.name] = full
    return found


def read(file, node, owner=""):
    """A function, a class or a method."""
    docs = sections(ast.get_docstring(node) or "")
    thing = Thing("function", owner + node.name, file.path, node.lineno, docs)
    thing.code = without_docstrings(file, node)
    thing.docs_line = node.body[0].lineno
    if isinstance(node, ast.ClassDef):
        thing.kind = "class"
        read_class(file, node, thing)
        return thing
    thing.arguments = arguments(file, node.args)
    if owner:
        thing.kind = next((METHODS[d] for d in decorators(node) if d in METHODS), "method")
        thing.arguments = thing.arguments[thing.kind != "staticmethod" :]  # without self
    return thing


def read_class(file, node, thing):
    """Complete a class: what it is called with, what it is made from, its members."""
    thing.bases = [file.segment(base) for base in node.bases]
    parents = [find(file, base) for base in thing.bases if is_ours(file, base)]
    if "dataclass" in decorators(node) or "NamedTuple" in thing.bases:
        inherited = [field for parent in parents for field in parent.fields]
        thing.fields = list({field[0]: field for field in inherited + fields(file, node)}.values())
        keywords = any("kw_only=True" in file.segment(d) for d in node.decorator_list)
        written = [f"{name}={default}" if default else name for name, _, default, _ in thing.fields]
        thing.arguments = ["*"] * keywords + written
    elif parents:
        thing.arguments = parents[0].arguments
    above = {name for parent in parents for name in parent.methods}
    for method in (item for item in node.body if isinstance(item, ast.FunctionDef)):
        if "setter" in decorators(method):  # of a property, which is told by what it gives
            continue
        member = read(file, method, f"{thing.name}.")
        inner = method.name.startswith("_") and not method.name.startswith("__")
        told = method.name.startswith("__") or method.name in above  # needs no entry of its own
        if method.name == "__init__":
            thing.arguments = member.arguments
        elif not inner and (member.docs or not told):
            thing.members.append(member)
    thing.methods = above | {member.name.rpartition(".")[2] for member in thing.members}


def is_ours(file, name):
    """Whether a name at the top of a file stands for something that is made in the package."""
    try:
        return find(file, name).kind != "data"
    except LookupError:
        return False


def decorators(node):
    """The names of the decorators, without packages and arguments."""
    calls = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return [call.attr if isinstance(call, ast.Attribute) else call.id for call in calls]


def arguments(file, args):
    """The arguments as they are written, without types: ["x", "*", "axis=-1"]."""
    positional = args.posonlyargs + args.args
    defaults = [None] * (len(positional) - len(args.defaults)) + args.defaults
    shown = [argument(file, *pair) for pair in zip(positional, defaults, strict=True)]
    if args.posonlyargs:
        shown.insert(len(args.posonlyargs), "/")
    if args.vararg or args.kwonlyargs:
        shown.append("*" + (args.vararg.arg if args.vararg else ""))
    shown += [argument(file, *pair) for pair in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    return shown + ([f"**{args.kwarg.arg}"] if args.kwarg else [])


def argument(file, arg, default):
    return arg.arg if default is None else f"{arg.arg}={file.segment(default)}"


def fields(file, node):
    """The fields of a dataclass: (name, type, default or "", comment)."""
    found = []
    for item in (item for item in node.body if isinstance(item, ast.AnnAssign)):
        default = file.segment(item.value) if item.value else ""
        if default.startswith("field("):
            given = {keyword.arg: file.segment(keyword.value) for keyword in item.value.keywords}
            made = f"{given['default_factory']}()" if "default_factory" in given else ""
            default = given.get("default", made)
        comment = file.comments.get(item.end_lineno, "").lstrip("# ")
        found.append((item.target.id, file.segment(item.annotation), default, comment))
    return found


def assigned(node):
    """The names that an assignment gives."""
    names = [n for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)]
    return [name.id for name in names]


def remark(file, node):
    """The comment on a value, above it or at the end of its line, as a docstring."""
    lines, line = [], node.lineno - 1
    while line in file.comments and file.text.splitlines()[line - 1].startswith("#"):
        lines.insert(0, file.comments[line].lstrip("# "))
        line -= 1
    if not lines and node.lineno == node.end_lineno and node.lineno in file.comments:
        text = file.comments[node.lineno].lstrip("# ")
        lines = [text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")]
    return [("", lines)] if lines else []


def without_docstrings(file, node):
    """The code of a function or class, without its docstrings."""
    lines = file.text.splitlines()
    hidden = set()
    for inner in ast.walk(node):
        definition = isinstance(inner, ast.FunctionDef | ast.ClassDef)
        if definition and ast.get_docstring(inner) is not None:
            docs = inner.body[0]
            empty = not "".join(lines[docs.end_lineno : docs.end_lineno + 1]).strip()
            hidden |= set(range(docs.lineno, docs.end_lineno + 1 + empty))
    start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    kept = [lines[n - 1] for n in range(start, node.end_lineno + 1) if n not in hidden]
    return textwrap.dedent("\n".join(kept)).rstrip()


def sections(text):
    """A docstring as its sections: [("", lines), ("Raises", lines), …]."""
    found = [("", [])]
    lines = text.splitlines()
    for n, line in enumerate(lines):
        if re.fullmatch(r"-{3,}", line) and n and re.fullmatch(r"\w[\w ]*", lines[n - 1]):
            found[-1][1].pop()
            found.append((lines[n - 1], []))
        else:
            found[-1][1].append(line)
    return [(name, trim(lines)) for name, lines in found if trim(lines)]


def works(text, keys):
    """The works that a text names: (start, end, key in references.bib, or None).

    The key of "Tjong Kim Sang & De Meulder 2003" is tjongkimsang2003; a capital before the name,
    as in "See Hägele et al. 2024", belongs to no key.
    """
    for found in WORK.finditer(text):
        starts = [found.start() + word.start() for word in re.finditer(r"\S+", found[1])]
        for start in starts:
            name = "".join(text[start : found.end(1)].lower().split())
            plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
            if (key := plain + found[2]) in keys:
                yield start, found.end(), key
                break
        else:
            yield found.start(), found.end(), None


def trim(lines):
    """Lines without empty ones at either end."""
    text = "\n".join(lines).strip("\n")
    return text.splitlines() if text.strip() else []
