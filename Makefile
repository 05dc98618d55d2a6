# Two commands matter: `make book` builds the pages, `make test` runs everything that must hold.
# Each sets up what it needs in .venv (see tools/setup_env.py) and is quick when nothing changed.

PYTHON ?= python3
VENV := $(if $(filter Windows_NT,$(OS)),.venv/Scripts,.venv/bin)
SITE := _build/html
export PYTHONUTF8 := 1
ifneq ($(MINILLM_DATA),)  # notebooks run in their own folder, so the path must not be relative
override MINILLM_DATA := $(shell cd "$(MINILLM_DATA)" 2>/dev/null && pwd || echo "$(MINILLM_DATA)")
export MINILLM_DATA
endif

.PHONY: book test lab serve bench execute repository lock clean help

book:  ## build the rendered book and print the page to open
	@$(PYTHON) tools/setup_env.py book
	@$(VENV)/python tools/build.py

test:  ## run everything that must hold: the package, every notebook, the built pages
	@$(PYTHON) tools/setup_env.py all
	@$(VENV)/python tools/test.py

lab:  ## open the notebooks in JupyterLab
	@$(PYTHON) tools/setup_env.py all
	@$(VENV)/jupyter lab --notebook-dir=notebooks

serve: book  ## build the book and serve it at http://localhost:8000
	@$(VENV)/python -m http.server 8000 --bind 127.0.0.1 --directory $(SITE)

bench:  ## measure speed and memory; results are added to benchmarks/results.csv
	@$(PYTHON) tools/setup_env.py all
	@$(VENV)/python -m benchmarks

execute:  ## re-run the notebooks and store their outputs (NB=notebooks/04-1-softmax.ipynb for one)
	@$(PYTHON) tools/setup_env.py all
	@$(VENV)/python -m tools.execute $(NB)

repository:  ## set the book's address everywhere: make repository NAME=owner/name
	@$(PYTHON) tools/repository.py "$(NAME)"

lock:  ## write down the versions of the tested set
	@$(PYTHON) tools/setup_env.py all
	@$(VENV)/python tools/lock.py

clean:  ## remove what the commands above made
	rm -rf .venv _build .pytest_cache .hypothesis build *.egg-info book/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## list these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'
