"""Scene → recorded motion of every geometry, and what is heard of it. Imported by `draw`, `pixels` and `render`."""
