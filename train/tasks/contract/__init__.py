"""What every task is: the protocol ask → see → answer → judge, random numbers by sample, views, heads.

Imported by every room of tasks, and by objective and run.
"""
