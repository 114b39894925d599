"""Config keys that came after runs had been saved, and what those runs did."""

import json
from typing import Any

LATER = {
  'proposals.decoder': 'argmax',
  'data.normal_scores': False,
  'joint.action_weight': 0.0,
  'joint.num_actions': 0,
  'joint.clear_weight': 0.0,
  'joint.clear_reach': 4.0,
  'joint.border_error': 0.0,
  'joint.calibration': [],
}


def completed(values: dict[str, Any]) -> dict[str, Any]:
  """A saved config with the keys that it is too old to have."""
  values = json.loads(json.dumps(values))
  if 'proposals' not in values:
    return values  # Of a classifier of clips.
  for name, old in LATER.items():
    section, key = name.split('.')
    values.setdefault(section, {}).setdefault(key, old)
  return values
