"""A trained run and files to proposal files; export."""
