"""Features that are in memory, as a store of files has them."""

import numpy as np

from cmsn_jax.files import feature_files


class ArrayStore(feature_files.FeatureStore):
  """One array of features, as a folder of one video, `features`.

  Args:
    features: [t, d].
    name: of the array, for messages.

  Raises:
    TypeError: if they are no numbers.
    ValueError: on another shape.
  """

  def __init__(self, features: object, name: str = 'the array'):
    rows = np.asarray(features)
    if rows.dtype.kind not in 'fiub':
      raise TypeError(
        f'{name} must hold numbers, [t, d], got {rows.dtype} of shape '
        f'{rows.shape}; a path is a str or an os.PathLike'
      )
    if rows.ndim == 2 and not len(rows):
      raise ValueError(f'{name} has no rows, of shape {rows.shape}')
    if rows.ndim != 2:
      raise ValueError(f'{name} must have shape [t, d], got {rows.shape}')
    super().__init__(name, {'features': (_Rows, rows)}, None, None)

  def __str__(self):
    return self.path


class _Rows:
  """An array as `feature_arrays` has those of files."""

  cached = False

  def __init__(self, rows, key=None):
    del key
    self.num_rows, self.dim = rows.shape
    self._rows = rows

  def read(self, start, stop):
    return self._rows[start:stop]
