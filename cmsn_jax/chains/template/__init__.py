"""The template chain: every start and duration, context evaluator; one phase."""
