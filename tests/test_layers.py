"""The house: which room may import which, who alone may use a library, and how large rooms and files may be."""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "freelabels"

# From the ground up, layers and their rooms: each imports itself and what comes before it here, nothing after.
# Files that lie in the layer itself come after its rooms.
LAYERS = {
    "ground": [],
    "generators": ["contract", "tools", "depth"],
    "renderers": ["engines", "surfaces", "objects", "scene", "simulate", "draw", "pixels", "labels"],
    "pipeline": [
        "storage.archives",
        "storage",
        "media",
        "work",
        "shards",
        "sources.layouts",
        "sources.cameras",
        "sources",
        "quality",
        "stages",
        "curate",
        "viewer",
        "convert",
    ],
    "train": [
        "config",
        "recipes",
        "data",
        "model",
        "tasks.contract",
        "tasks.geometry",
        "tasks.flow",
        "tasks.camera",
        "tasks.clusters",
        "tasks.colour",
        "tasks.space",
        "tasks.similarity",
        "tasks.generation",
        "tasks.time",
        "tasks.sound",
        "tasks.prediction",
        "tasks",
        "objective.adversaries",
        "objective",
        "run",
        "predicting",
        "export",
        "push",
        "probing.layouts",
        "probing.streams",
        "probing.transfer",
        "probing",
        "bench",
    ],
    "testing": [],
    "face": [],  # freelabels/__init__.py, which imports whatever it names
    "cli": ["shell", "lists", "curating", "sharing", "demo", "commands"],
}
FLOORS = ("generators", "renderers", "pipeline", "train")
ROOMS = [
    place for layer, rooms in LAYERS.items() for place in (*(f"{layer}.{room}" for room in rooms), layer)
]

# Libraries that few may know: Ray in one room and one file, networks in one layer, physics in another.
LIBRARIES = {
    "ray": ("pipeline.work", "train.run.cluster"),
    "torch": ("train", "testing.task", "testing.task_samples"),
    "timm": ("train",),
    "pybullet": ("renderers",),
    "zarr": (),  # the shards' format is written and read by pipeline.shards.columns itself
    "tensorstore": (),
}
FILES_IN_A_ROOM = 15
LINES_IN_A_FILE = 400

Sources = dict[str, str]  # source text by module, named without the package


@cache
def installed() -> Sources:
    """Every module of the package but its public face, which imports whatever it names."""
    found = {}
    for layer in sorted(path for path in (ROOT / PACKAGE).iterdir() if path.is_dir()):
        for path in sorted(layer.rglob("*.py")):
            name = ".".join(path.relative_to(ROOT / PACKAGE).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path.read_text()
    return found


@cache
def imports(source: str) -> list[tuple[str, str]]:
    """(module, name) of all that a source imports wherever it stands; name is empty for `import module`."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports say freelabels.…, not dots"
            found += [(node.module or "", alias.name) for alias in node.names]
    return found


def edges(modules: Sources) -> Iterator[tuple[str, str]]:
    """(module, what it imports) within the package."""
    for module, source in modules.items():
        for target, name in imports(source):
            if target.partition(".")[0] == PACKAGE:
                inside = target.removeprefix(PACKAGE).removeprefix(".")
                whole = f"{inside}.{name}".removeprefix(".")
                yield module, whole if whole in modules else inside or "face"


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def height(module: str) -> int:
    """Place in the list of the innermost room that holds a module."""
    return ROOMS.index(max((room for room in ROOMS if within(module, room)), key=len))


def upward(modules: Sources) -> list[str]:
    return [f"{a} imports {b}" for a, b in edges(modules) if height(b) > height(a)]


def cycles(modules: Sources) -> list[str]:
    graph: dict[str, set[str]] = {module: set() for module in [*modules, "face"]}
    for module, target in edges(modules):
        graph[module].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" → ".join(error.args[1])]
    return []


def foreign_libraries(modules: Sources) -> list[str]:
    return [
        f"{module} imports {library}"
        for module, source in modules.items()
        for library in sorted({target.partition(".")[0] for target, _ in imports(source)} & LIBRARIES.keys())
        if not any(within(module, room) for room in LIBRARIES[library])
    ]


def private_names(modules: Sources) -> list[str]:
    return [
        f"{module} imports {target}.{name}"
        for module, source in modules.items()
        for target, name in imports(source)
        if any(part.startswith("_") and not part.endswith("__") for part in (*target.split("."), name))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("faults", [upward, cycles, foreign_libraries, private_names])
def test_imports_keep_the_rules(faults: Callable[[Sources], list[str]]) -> None:
    assert faults(installed()) == []


def test_every_package_is_a_room_of_the_list() -> None:
    packages = {path.parent.relative_to(ROOT / PACKAGE) for path in (ROOT / PACKAGE).glob("*/**/__init__.py")}
    assert {".".join(package.parts) for package in packages} - set(ROOMS) == set()


@pytest.mark.parametrize(
    ("faults", "module", "line"),
    [
        (upward, "pipeline.storage.local", "from freelabels.pipeline.shards.record import digest"),
        (upward, "pipeline.storage.local", "    from freelabels.pipeline.shards import record"),
        (upward, "generators.contract.clip", "from freelabels.generators.edges import Edges"),
        (cycles, "pipeline.shards.record", "from freelabels.pipeline.shards.commit import commit_shard"),
        (foreign_libraries, "pipeline.shards.record", "import ray.util"),
        (foreign_libraries, "generators.edges", "    from torch import nn"),
        (private_names, "pipeline.cards", "from freelabels.pipeline.viewer.inspect import _table"),
        (private_names, "pipeline.cards", "from ray._private import worker"),
    ],
)
def test_each_rule_finds_a_line_that_breaks_it(
    faults: Callable[[Sources], list[str]], module: str, line: str
) -> None:
    indented = f"def later():\n{line}" if line.startswith(" ") else line
    assert faults(installed() | {module: f"{installed()[module]}\n{indented}\n"}) != []


def python_files() -> list[Path]:
    """All but the tests, under their real paths."""
    folders = (PACKAGE, "generators", "renderers", "pipeline", "train", "benchmarks", "docs")
    return sorted(
        {
            path.resolve().relative_to(ROOT.resolve())
            for folder in folders
            for path in (ROOT / folder).rglob("*.py")
        }
    )


def test_no_file_is_long() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in python_files()}
    assert {path: lines for path, lines in lengths.items() if lines > LINES_IN_A_FILE} == {}


def test_no_room_is_crowded() -> None:
    rooms: dict[str, int] = {}
    for path in python_files():
        rooms[str(path.parent)] = rooms.get(str(path.parent), 0) + (path.name != "__init__.py")
    assert {room: files for room, files in rooms.items() if files > FILES_IN_A_ROOM} == {}


def test_every_room_says_what_it_is() -> None:
    rooms = [path for path in python_files() if path.name == "__init__.py"]
    silent = [str(path) for path in rooms if not ast.get_docstring(ast.parse((ROOT / path).read_text()))]
    assert silent == []
    packages = {path.parent for path in rooms}
    assert [
        str(path) for path in python_files() if path.parts[0] != "docs" and path.parent not in packages
    ] == []


def test_the_house_is_drawn_with_all_its_rooms() -> None:
    drawn = (ROOT / "docs" / "house.svg").read_text()
    for floor, rooms in LAYERS.items():
        if floor in FLOORS:
            shown = [room for room in rooms if (ROOT / floor / room / "__init__.py").exists()]
            assert f">{' → '.join(shown)}" in drawn, floor
