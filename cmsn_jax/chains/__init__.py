"""Ways from snippets to ranked segments."""
