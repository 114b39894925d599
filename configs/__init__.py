"""One config a file; default.py states every key."""
