"""Work items on Ray or in this process, and what is said meanwhile. The only room that knows Ray.

Imported by every later room that runs work.
"""
