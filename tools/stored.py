"""The one form in which notebooks are stored, so that a run changes results and nothing else."""

import base64
import hashlib
import io
import json
import re

import nbformat
from PIL import Image

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {
    "name": "python",
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "pygments_lexer": "ipython3",
}
HIDES_SOURCE, HIDES_OUTPUT = {"hide-input", "hide-cell"}, {"hide-output", "hide-cell"}
WIDGET = "application/vnd.jupyter.widget-view+json"


def last_state(text):
    """What a terminal shows of `text` in the end: of a progress bar its last state."""
    return "\n".join(line.rstrip("\r").split("\r")[-1] for line in text.split("\n"))


def small_figure(png):
    """A figure with a palette of 256 colors, base64 in and out: half the bytes, to the eye the same."""
    figure = Image.open(io.BytesIO(base64.b64decode(png)))
    if figure.mode == "P":
        return png
    small = io.BytesIO()
    figure.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def stored_outputs(outputs):
    """The outputs as they are stored: whole streams, small figures; no widgets, dead by then."""
    kept = []
    for output in outputs:
        if WIDGET in output.get("data", {}):
            continue
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = small_figure(output.data["image/png"])
        if output.output_type == "stream":
            if kept and kept[-1].output_type == "stream" and kept[-1].name == output.name:
                output.text = kept.pop().text + output.text
            output.text = last_state(output.text)
        kept.append(output)
    return kept


def stored_metadata(metadata):
    """A cell's tags and alt text; its tags say what is hidden in JupyterLab and in Colab."""
    kept = {key: metadata[key] for key in ("tags", "mystnb") if metadata.get(key)}
    tags = set(kept.get("tags", []))
    hidden = {"source_hidden": tags & HIDES_SOURCE, "outputs_hidden": tags & HIDES_OUTPUT}
    if any(hidden.values()):
        kept["jupyter"] = {key: True for key, because in hidden.items() if because}
    if tags & HIDES_SOURCE:
        kept["cellView"] = "form"
    return nbformat.from_dict(kept)


def content(cell):
    """What a cell says, without the repository's address: the one part that is set afterwards."""
    return re.sub(r'^REPOSITORY = ".*"', 'REPOSITORY = ""', cell.source)


def digest(notebook):
    """What a run read and gave: a hash of the code cells, in order, and of their stored outputs."""
    cells = [(content(cell), cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def normalize(notebook):
    """Bring a notebook into the stored form, in place; what was run, and when, is not touched."""
    seen = {}
    for cell in notebook.cells:
        cell.metadata = stored_metadata(cell.metadata)
        cell.source = cell.source.strip("\n")
        name = hashlib.sha256(f"{cell.cell_type}\n{content(cell)}".encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
        if cell.cell_type == "code":
            cell.outputs = stored_outputs(cell.outputs)
    executed = notebook.metadata.get("minillm", {})
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC, "language_info": LANGUAGE})
    if executed:
        notebook.metadata.minillm = executed
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def text(notebook):
    """The file that stores a notebook: sorted keys, one space of indent, a newline at its end."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"
