"""Proposals and ground truth to AR@AN, what goes wrong, curves."""
