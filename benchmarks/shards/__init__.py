"""Our shards, as folders and packed, beside other formats: frames a CPU-second written and read, and MiB on disk.

    python -m benchmarks.shards [--dataset DIR] [--frames 512] [--repeats 5] [--peers .venv-peers]

All formats hold the same frames of six fields and give them back as arrays, checked. The peers run in an
environment of their own, which is made on first use (uv, a registry of packages); what can't be installed is left
out and named. Every repeat measures each format once, so that a busy machine is busy for all. Reads come from the
page cache: what is compared is the processor's part. CPU seconds are those of the process with all its threads.
Ours checks every frame's crc32c, and its writes are whole commits: contract, statistics, sha256 and fsync; the
peers check what they check by default. What a write's time buys, of 2.6 ms a frame: 1.2 go into compression and
crc32c, .4 into sha256, .3 into statistics (so that `inspect` and `card` open no pixels), .25 into the contract's
rules, the rest into copying and the disk.

Cost: about two CPU minutes, and on first use the peers' download of some gigabytes (torch).
"""
