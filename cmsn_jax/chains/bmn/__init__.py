"""The boundary-matching network: a rival of the paper's Tables 1 and 2."""
