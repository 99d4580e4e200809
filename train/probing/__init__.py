"""What frozen features are worth on other tasks: data, features, classifiers, dense probes, the report."""
