# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Where `make test-python` sets up another Python.
OTHER = .venv-$(shell $(PYTHON) -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
# What no wheel carries: Python's own venv module, and the libraries that open3d loads when it is imported.
DEBIAN_PACKAGES := python3.11-venv libusb-1.0-0 libgl1 libegl1 libgomp1 libx11-6
# What `make test` needs besides: a browser that drives the page of `freelabels inspect`. The one without windows takes
# half the processor time; not every system has it.
BROWSERS := chromium-headless-shell chromium chromium-browser
BROWSER_LIBRARY := libatomic1
CHECK_SYSTEM := import ctypes, ensurepip; [ctypes.CDLL(name) for name in ( \
	"libusb-1.0.so.0", "libGL.so.1", "libEGL.so.1", "libgomp.so.1", "libX11.so.6")]

# Hundreds of processes import the same libraries: where this is set, each of them would compile them anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup constraints system browser test test-install test-docs test-benchmarks test-shortcuts quick test-python lint docs demo clean

setup: $(VENV)/.ready

# First what users install, from wheels alone; then what developing needs, of which one small package has no wheel.
# All is compiled, as pip does it: else each of pytest's workers would compile the same 10,000 files. Tests are compiled by
# pytest, in its own way.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c '$(CHECK_SYSTEM)' 2>/dev/null || $(MAKE) --no-print-directory system
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt --only-binary :all: -e .
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev,docs]'
	$(BIN)/python -m compileall -q freelabels generators renderers pipeline train benchmarks
	-$(BIN)/python -m pytest -n 0 --collect-only -qq > /dev/null
	@touch $@

# Pin anew: the newest of everything that fits pyproject.toml on every Python and system it names.
constraints:
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --extra docs --no-annotate \
		--custom-compile-command 'make constraints' pyproject.toml -o constraints.txt

system:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get -q update && DEBIAN_FRONTEND=noninteractive \
		apt-get -q install -y --no-install-recommends $(DEBIAN_PACKAGES); \
	else \
		echo "Some system libraries are missing; run: sudo apt-get install $(DEBIAN_PACKAGES)" >&2; exit 1; \
	fi

# Without a browser, and without the right to install one, the tests that need it are skipped.
browser:
	@if [ -z "$$(for browser in $(BROWSERS); do command -v $$browser; done)" ] || ! /sbin/ldconfig -p | grep -q libatomic.so.1; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			export DEBIAN_FRONTEND=noninteractive; apt-get -q update && for browser in $(BROWSERS); do \
				apt-get -q install -y --no-install-recommends $$browser $(BROWSER_LIBRARY) && exit; \
			done; exit 1; \
		else \
			echo "The browser tests will be skipped; for them run: sudo apt-get install chromium $(BROWSER_LIBRARY)" >&2; \
		fi; \
	fi

# All tests but those of the next four.
test: setup browser
	$(BIN)/python -m pytest -m 'not (benchmark or docs or install or shortcut)'

# What strangers install: the wheel, in a new environment.
test-install: setup
	$(BIN)/python -m pytest -m install

# All code of the README, the docs and the notebooks of docs/tutorials, as written.
test-docs: setup
	$(BIN)/python -m pytest -n 0 -m docs

# Every benchmark, asked for the least it can be.
test-benchmarks: setup
	$(BIN)/python -m pytest -n 2 -m benchmark

# What tasks could cheat by: trained on noise that holds one planted cue.
test-shortcuts: setup
	$(BIN)/python -m pytest -n 2 -m shortcut

# What needs neither Ray's processes, nor kills, nor a browser, nor much time.
quick: setup
	$(BIN)/python -m pytest -n 2 -m 'not (ray or kill or browser or slow or benchmark or docs or install or shortcut)'

# make test-python PYTHON=python3.13: all tests there; those that render are skipped where PyBullet has no wheel.
test-python: browser
	$(MAKE) --no-print-directory setup VENV=$(OTHER)
	$(OTHER)/bin/python -m pytest -m 'not (benchmark or docs or shortcut)'

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in site/index.html. A page, anchor or picture that isn't there is an error, and so is a warning.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet


# Label, render, train, probe and look: everything the README shows, in less than five minutes on two cores.
demo: setup
	$(BIN)/python docs/demo_sources.py demo/sources demo/classes
	$(BIN)/freelabels label demo/sources --out demo/real
	$(BIN)/freelabels verify demo/real
	$(BIN)/freelabels render --out demo/synthetic --clips 160 --frames 2 --size 128
	$(BIN)/freelabels verify demo/synthetic
	$(BIN)/freelabels inspect demo/real --picture demo/real.png
	$(BIN)/freelabels inspect demo/synthetic --picture demo/synthetic.png
	$(BIN)/freelabels inspect demo/real --beside demo/synthetic --html demo/report.html \
		--measured-clips 1
	rm -rf demo/run
	$(BIN)/freelabels train demo/real demo/synthetic --out demo/run --steps 180 --loader.batch 8 \
		--loader.synthetic 0.75 --balance.name famo
	$(BIN)/freelabels export demo/run --out demo/backbone
	$(BIN)/freelabels probe demo/run --data demo/classes demo/synthetic --fields depth normals \
		--rotation skip --seeds 2 --draws 1 --shots 1 4 --frames 48
	@echo "Look at demo/report.html in a browser, at the labels in demo/real.png and demo/synthetic.png,"
	@echo "at predictions in demo/run/pictures, and at what each stage of the backbone is worth in demo/run/probe.png"

clean:
	rm -rf .venv .venv-python* demo site
