"""`freelabels demo`: all of it once, on pictures that ship with scikit-image and a clip made here."""
