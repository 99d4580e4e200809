"""Runs the parts: see `benchmarks.scaling`."""

import benchmarks.scaling
from benchmarks.scaling.driver import driver
from benchmarks.scaling.inspect import inspect, look
from benchmarks.scaling.label import label, relabel
from benchmarks.scaling.loader import loader
from benchmarks.scaling.plan import plan, replan
from benchmarks.scaling.simulate import simulate
from benchmarks.scaling.store import store
from benchmarks.scaling.workers import once, workers
from benchmarks.tools.command import Part, on_one_thread, run_parts

if __name__ == "__main__":
    on_one_thread()
    parts: dict[str, Part] = {
        "workers": workers,
        "driver": driver,
        "plan": plan,
        "label": label,
        "inspect": inspect,
        "simulate": simulate,
        "loader": loader,
        "store": store,
    }
    run_parts(
        benchmarks.scaling.__doc__, parts, {"once": once, "replan": replan, "relabel": relabel, "look": look}
    )
