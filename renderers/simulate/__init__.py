"""Scene → recorded motion of every geometry, and its sound. Imported by `draw`, `pixels` and `render`."""
