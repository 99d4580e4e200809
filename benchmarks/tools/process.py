"""What a process has cost: CPU seconds with all below it, and memory."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

MIB = 1 << 20


def cpu_seconds() -> float:
    """CPU seconds of this process and all below it to date, on Linux with those that have ended."""
    spent, me = 0.0, psutil.Process()
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            spent += sum(process.cpu_times()[:4])  # user, system, and both of children that were waited for
    return spent


def resident_mib() -> float:
    """Resident memory of this process, MiB."""
    return float(psutil.Process().memory_info().rss / MIB)


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB; elsewhere than on Linux that of now.

    getrusage's may be the one of its parent.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return resident_mib()
    return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
