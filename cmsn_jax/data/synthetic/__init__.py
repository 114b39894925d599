"""Made-up sequences and videos, joined clips."""
