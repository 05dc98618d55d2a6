"""What nbval needs beside it: this checkout's package, stand-in data not compared, and a table.

    pytest --nbval --nbval-current-env --nbval-sanitize-with tests/sanitize.cfg notebooks
"""

import nbformat
import pytest

from minillm import data
from tools.kernel import NOTEBOOKS, data_sets, set_environment
from tools.measure import Table


def stand_ins():
    """The notebooks that have only stand-ins for some of their data, with those sets' names."""
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    loads = {path.name: data_sets(nbformat.read(path, as_version=4)) for path in paths}
    made_up = {name for name in set().union(*loads.values()) if not data.is_real(name)}
    found = {name: sorted(made_up.intersection(sets)) for name, sets in loads.items()}
    return {name: sets for name, sets in found.items() if sets}


def pytest_configure(config):
    set_environment()
    worker = getattr(config, "workerinput", None)
    config.stand_ins = worker["stand_ins"] if worker else stand_ins()  # asked once, not by each
    config.pluginmanager.register(Table(not_compared=set(config.stand_ins)))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    node.workerinput["stand_ins"] = node.config.stand_ins


def pytest_report_header(config):
    return [
        f"{name}: run but not compared, as there is only a stand-in for {', '.join(sets)}"
        for name, sets in sorted(config.stand_ins.items())
    ]


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.path.name in config.stand_ins:
            item.options["check"] = False
