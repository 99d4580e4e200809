"""The contract: fields, clips, geometry, detectors, confidence, pictures. Everyone may import it."""
