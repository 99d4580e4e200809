"""Files inside tars, zips and Parquet tables, read where they lie: nothing is unpacked to disk.

Imported by the rest of the storage, which opens archives wherever they are.
"""
