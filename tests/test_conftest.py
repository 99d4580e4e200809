"""How the tests are shared out, and how those who run them end."""

import os

from tests.conftest import RENDERERS, Together, leave


def scope_of(nodeid: str) -> str:
    return Together._split_scope(object.__new__(Together), nodeid)


def test_what_starts_ray_runs_on_one_worker_and_what_renders_on_one() -> None:
    ray = {
        scope_of(f"tests/{file}.py::test_x")
        for file in ("pipeline/stages/test_kill", "train/test_train_on_ray")
    }
    renders = {
        scope_of(f"tests/{file}.py::test_x")
        for file in ("renderers/test_scene", "pipeline/stages/test_render")
    }
    assert ray == {"ray"} and renders == {RENDERERS}
    assert scope_of("tests/test_layers.py::test_x[a::b]") == "tests/test_layers.py"


def test_a_worker_ends_at_once_and_what_is_forked_from_it_does_not() -> None:
    codes = []
    for other in (0, 1):
        child = os.fork()
        if not child:
            leave(os.getpid() + other)
            os._exit(3)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert codes == [0, 3]
