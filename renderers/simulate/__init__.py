"""Scene → recorded motion of every geometry."""
