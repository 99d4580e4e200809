"""The other formats that `benchmarks.shards` compares with; they run in an environment of their own.

Nothing here may import freelabels. One file a library: a format whose library is missing is left out.
"""
