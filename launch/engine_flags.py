"""Flags that say who works on many videos; of several commands."""

from absl import flags

ENGINE = flags.DEFINE_enum(
  'engine', 'local', ['local', 'ray'],
  'local: all devices of this machine, a process each, or this process where '
  'there is one; ray: the workers of a Ray cluster.',
)  # fmt: skip
ADDRESS = flags.DEFINE_string(
  'address', 'auto',
  "Of the Ray cluster: 'auto' the one that this machine belongs to, host:port, "
  "or 'local' for one of this machine alone.",
)  # fmt: skip
WORKERS = flags.DEFINE_integer(
  'workers', 0,
  'Workers at most, for which an autoscaling Ray cluster makes room; 0: one a '
  'device, however many there are.',
)  # fmt: skip
CORES = flags.DEFINE_integer(
  'worker_cores',
  0,
  'CPU cores of a worker, which computes on no more, so that results are equal '
  'but for rounding; 0: it computes as one process would, and ray takes two, '
  'and only GPUs where the cluster has any.',
)
TRIES = flags.DEFINE_integer(
  'tries', 3, 'How often a video is tried whose worker is lost.'
)


def settings():
  """What the flags say, as `engine.Settings`.

  Where others compute, this process keeps off their devices: it is to be called
  before anything is computed.

  Raises:
    ValueError: on flags that cannot be.
    ConnectionError: if there is no Ray cluster at the address.
  """
  from cmsn_jax.engines import devices, engine

  found = engine.Settings(
    ENGINE.value,
    WORKERS.value,
    CORES.value,
    ADDRESS.value,
    TRIES.value,
    tuple(devices.gpus()) if ENGINE.value == 'local' else (),
  )
  found.check()
  if not found.in_place():
    import jax

    jax.config.update('jax_platforms', 'cpu')
  if found.name == 'ray':
    # Before jax has threads: a cluster of this machine is made of forks.
    from cmsn_jax.engines import on_ray

    on_ray.connected(found.address)
  return found


def announce(found, quiet):
  """Prints on what is computed; nothing if `quiet`."""
  from . import distributed

  if found.in_place():
    distributed.announce_devices(quiet)
  elif not quiet and found.name == 'ray':
    print(f'computing on the Ray cluster at {found.address}', flush=True)
  elif not quiet:
    where = f'GPUs {", ".join(found.gpus)}' if found.gpus else 'CPU cores'
    count = found.workers or len(found.gpus)
    print(f'computing on {where} in {count} processes', flush=True)
