"""Temporal actionness grouping: a rival of the paper's Tables 1 and 2."""
