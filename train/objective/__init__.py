"""From many tasks to one scalar: balance, domain adversaries, and the module that holds all that learns.

Only run imports it.
"""
