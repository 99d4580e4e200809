"""What pretext tasks learn from photos at equal compute: held-out scores, and what the features are worth.

    python -m benchmarks.pretexts video --help          tasks that learn from time, on rendered clips
    python -m benchmarks.pretexts [images]              on made-up scenes, to see it run
    python -m benchmarks.pretexts images --data FOLDER  it holds train/ and val/, a folder a class in each
    python -m benchmarks.pretexts --data FOLDER --only rotation jigsaw --megapixels 20

Each trains a resnet18 on the same number of trunk pixels (a jigsaw's sample is nine small views), without the
classes. The score is of photos in val/ (for tasks that make labels of their own: of photos kept from them), beside
the trivial answer; gap is their difference in standard errors.
With --probe-images linear probes on frozen features of each stage tell the classes, beside random weights. Rows
that are finished are kept in --out, so that the same command goes on.

Cost: at the default size about four CPU minutes a task.
"""
