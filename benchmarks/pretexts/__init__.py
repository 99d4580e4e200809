"""What pretext tasks learn from photos at equal compute: held-out scores, and what the features are worth.

    python -m benchmarks.pretexts video --help          tasks that learn from time, on rendered clips
    python -m benchmarks.pretexts controls --help       those that little can't teach, on clips made for them
    python -m benchmarks.pretexts aims --help           how near flow, cameras and stereo come to what is aimed at
    python -m benchmarks.pretexts beside --help         what dense tasks lose where a pretext is trained beside
    python -m benchmarks.pretexts [images]              on drawn patterns, to see it run
    python -m benchmarks.pretexts images --data FOLDER  it holds train/ and val/, a folder a class in each
    python -m benchmarks.pretexts --data FOLDER --only rotation jigsaw --megapixels 80

`images` is `freelabels bench features` with a row a task: each trains a resnet18 on the same number of trunk
pixels (a jigsaw's sample is nine small views), on photos of train/ without their classes. The score is of photos
of val/, which nothing learns from, beside the trivial answer; gap is their difference in standard errors. The
rest are linear probes (ridge, %) on the frozen features of each stage, which tell the classes of val/, beside
random weights. Rows that are finished are kept in --out, so that the same command goes on; there is the whole
table too, as table.md for docs/pretexts.md (`python docs/pretexts_table.py runs/pretexts`).

Rows whose trunk judges a generator (gan and its kin) see twice as much, at half the learning rate, since two
learn by turns there; they lie in --out/opponents. `boosting` learns the clusters that `freelabels assign` makes of
the row `deep_cluster`, which is trained for it where it isn't asked for.

Cost: one to two and a half CPU minutes a task at 20 megapixels, three to seven for one with a generator;
on drawn patterns, at 4, twelve minutes for all.
"""
