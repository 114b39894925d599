"""Every key of a run, and what turns it into another."""
