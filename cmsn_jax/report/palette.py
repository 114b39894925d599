"""Colours of stages and labels, in pictures and on pages alike."""

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
PROPOSAL = '#5b3fa0'
# The labels that occur most have these; more begin again, lighter and darker.
LABELS = (
  '#3b6fb6',  # blue
  '#c8553d',  # brick
  '#3c8d5a',  # green
  '#8a5fb0',  # purple
  '#b8862b',  # ochre
  '#2f97a3',  # teal
  '#c25c95',  # pink
  '#6f7d2c',  # olive
  '#5867c9',  # indigo
  '#a0693d',  # brown
)


def rgb(colour: str) -> tuple[int, int, int]:
  """Red, green and blue of '#rrggbb', 0 to 255."""
  return tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5))


def of_label(index: int) -> str:
  """Colour of the label that is the index-th by how often it occurs."""
  turn, place = divmod(index, len(LABELS))
  if not turn:
    return LABELS[place]
  # Towards white, then towards black, a little more each time.
  target = 255 if turn % 2 else 0
  share = min(0.25 + 0.12 * (turn // 2), 0.6)
  mixed = [round(x + (target - x) * share) for x in rgb(LABELS[place])]
  return '#' + ''.join(f'{x:02x}' for x in mixed)
