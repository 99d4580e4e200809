"""What happens beyond one machine: speed-up by workers, the driver's cost, and planning for a million shards.

    python -m benchmarks.scaling                      every part with its defaults
    python -m benchmarks.scaling workers              wall time of a render stage with 1 and with 2 workers
    python -m benchmarks.scaling driver               CPU of the driver and of Ray per 1,000 shards, and of a wait
    python -m benchmarks.scaling plan [--shards N]    list, remember and plan N committed shards, for real
    python -m benchmarks.scaling label [--shards N]   the same for `label`: N videos, or 64 N photos
    python -m benchmarks.scaling inspect [--shards N] look at N committed shards, remembered or not, for real
    python -m benchmarks.scaling loader               memory and planning of one of 64 ranks, to 10^8 windows
    python -m benchmarks.scaling simulate             10,000 workers and a million shards in the runner's window

`plan` and `label` make a folder and a record for every shard in --folder and remove them: 20,000 by default; a
million, as docs/scaling.md tells of, take about 8 GB on most file systems. `simulate` runs the runner's own loop
on a stand-in for Ray with a clock that the tasks' simulated times move, and the driver's real CPU time with them;
what Ray adds to a task comes in by --task-cost, as `driver` measures it.

Cost: `plan` 45 CPU seconds, `inspect` 50, `label` 25, `simulate` 30; `workers` and `driver` start Ray and take
some minutes.
"""
