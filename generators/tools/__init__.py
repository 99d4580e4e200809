"""Image operations that several detectors share; only detectors import them."""
