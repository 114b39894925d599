"""Stages to candidate segments (PGS, Sec. 3.2)."""
