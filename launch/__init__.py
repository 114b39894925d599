"""Command lines: flags only, one file a command."""
