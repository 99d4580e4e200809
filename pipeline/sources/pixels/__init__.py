"""Files of pictures and videos → upright sRGB pixels; files of depth → its numbers."""
