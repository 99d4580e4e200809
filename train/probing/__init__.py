"""What frozen features are worth on other tasks: data, features, classifiers, dense probes, the report.

Only the face and the command line import it.
"""
