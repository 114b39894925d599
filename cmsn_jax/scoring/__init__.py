"""Proposals to scores (the paper's PES)."""
