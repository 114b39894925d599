"""Colours of the six stages, in pictures and on pages alike."""

# Okabe and Ito's palette: distinct for the common colour-blindnesses. Cool
# colours lead in, warm ones lead out; background recedes.
STAGES = (
  '#d3d8de',  # Background
  '#56b4e9',  # Ready
  '#0072b2',  # Start
  '#009e73',  # Confirm
  '#d55e00',  # End
  '#e69f00',  # Follow
)
