"""tf.data: loads the batches of a run in parallel, ahead and in order.

TensorFlow is imported here and in data/builders, nowhere else.
"""

import os
from collections.abc import Iterator

# Commands that are started from here inherit it; see launch/cli.py.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')  # It greets on stderr.

import tensorflow as tf  # noqa: E402

from cmsn_jax.data import windows  # noqa: E402


def batches(
  loader: windows.WindowLoader,
  start_step: int,
  stop_step: int,
  *,
  parallel_calls: int = 2,
  prefetch: int = 2,
) -> Iterator[windows.Batch]:
  """Yields the loader's batches of [start_step, stop_step) in order.

  Args:
    loader: gives the batch of any step.
    start_step: first step.
    stop_step: one past the last step.
    parallel_calls: batches loaded at a time.
    prefetch: finished batches kept waiting.
  """
  if start_step >= stop_step:
    return
  tf.config.set_visible_devices([], 'GPU')  # The accelerator is JAX's alone.
  example = loader.batch(start_step)
  names = sorted(example)

  def load(step):
    batch = loader.batch(int(step))
    return [batch[name] for name in names]

  def load_op(step):
    arrays = tf.numpy_function(
      load, [step], [tf.as_dtype(example[name].dtype) for name in names]
    )
    for name, array in zip(names, arrays, strict=True):
      array.set_shape(example[name].shape)
    return dict(zip(names, arrays, strict=True))

  dataset = tf.data.Dataset.range(start_step, stop_step)
  dataset = dataset.map(
    load_op, num_parallel_calls=parallel_calls, deterministic=True
  )
  options = tf.data.Options()
  options.threading.private_threadpool_size = parallel_calls
  yield from (
    dataset.with_options(options).prefetch(prefetch).as_numpy_iterator()
  )
