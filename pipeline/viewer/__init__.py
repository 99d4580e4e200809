"""Datasets for people to look at: tables, contact sheets, the page and its server, 3D clips.

Only the command line and cards import it.
"""
