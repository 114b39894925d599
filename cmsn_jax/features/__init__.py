"""Frames to features: one extractor a file (the paper's FES)."""
