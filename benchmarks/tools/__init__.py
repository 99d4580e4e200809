"""What benchmarks share: how they begin and end, what a process costs, made-up data and trainings."""
