"""One photo or video file → upright frames in sRGB, whatever it declares and however it was damaged.

Imported by sources, and by probing for pictures.
"""
