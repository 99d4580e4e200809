"""Datasets for people to look at: tables, contact sheets, the page and its server, 3D clips."""
