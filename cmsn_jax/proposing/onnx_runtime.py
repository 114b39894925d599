"""Programs of ONNX, run by ONNX Runtime: needs that and numpy, no JAX."""

import pathlib
from typing import Any

import numpy as np

SUFFIX = '.onnx'
# Errors only: what it would fold or leave out of a graph is no news to a user.
_ERRORS = 3


class Program:
  """One program of a file.

  Attributes:
    session: `onnxruntime.InferenceSession`.
  """

  def __init__(self, session: Any):
    self.session = session
    self._names = [one.name for one in session.get_inputs()]

  def call(self, *arrays: np.ndarray) -> Any:
    """Its output, or a tuple of them, of arrays in the order of its inputs."""
    outputs = self.session.run(None, dict(zip(self._names, arrays)))
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def read(path: pathlib.Path) -> Program:
  """The program of a file, with a method `call` of its arrays.

  It computes where ONNX Runtime finds it best: on a GPU, where that package is
  installed, else on the CPU.

  Raises:
    ImportError: without ONNX Runtime.
  """
  try:
    import onnxruntime
  except ImportError as error:
    raise ImportError(
      f'{path} needs ONNX Runtime: pip install onnxruntime'
    ) from error
  options = onnxruntime.SessionOptions()
  options.log_severity_level = _ERRORS
  return Program(
    onnxruntime.InferenceSession(
      str(path), options, providers=onnxruntime.get_available_providers()
    )
  )
