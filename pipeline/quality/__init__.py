"""Is a dataset whole and are its labels right: verification, agreement of fields, errors of detectors.

Imported by stages, the viewer and the layers above.
"""
