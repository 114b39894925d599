"""Features to action stages (the paper's ASS and its losses)."""
