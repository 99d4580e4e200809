"""The contract: fields, clips, geometry, detectors, confidence, pictures, sample clips. Everyone may import it."""
