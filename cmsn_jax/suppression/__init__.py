"""Scored candidates to kept, calibrated proposals (Sec. 3.3)."""
