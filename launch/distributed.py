"""Starts JAX on one or many processes, before anything else touches it."""

import os

# Environments in which jax.distributed finds its own coordinator.
_CLUSTER_VARIABLES = (
  ('SLURM_JOB_ID', 'SLURM_NTASKS'),
  ('OMPI_MCA_orte_hnp_uri', 'OMPI_COMM_WORLD_SIZE'),
)


def start(
  simulate_devices: int = 0,
  coordinator: str = '',
  num_processes: int = 0,
  process_id: int = -1,
) -> None:
  """Sets up devices and processes.

  Without flags, several processes are found by themselves on Slurm, Open MPI
  and Cloud TPU pods.

  Args:
    simulate_devices: CPU devices to pretend; 0: what is there.
    coordinator: host:port of process 0.
    num_processes: in all.
    process_id: of this one.

  Raises:
    ValueError: if only some of the three are given.
  """
  import jax

  if simulate_devices:
    jax.config.update('jax_platforms', 'cpu')
    jax.config.update('jax_num_cpu_devices', simulate_devices)
  given = [bool(coordinator), num_processes > 0, process_id >= 0]
  if any(given) and not all(given):
    raise ValueError(
      '--coordinator, --num_processes and --process_id go together, got '
      f'{coordinator!r}, {num_processes}, {process_id}'
    )
  if all(given):
    jax.distributed.initialize(coordinator, num_processes, process_id)
  elif _on_a_cluster():
    jax.distributed.initialize()


def _on_a_cluster():
  for name, size in _CLUSTER_VARIABLES:
    if name in os.environ and int(os.environ.get(size, '1')) > 1:
      return True
  # A TPU pod: more than one host serves it.
  return ',' in os.environ.get('TPU_WORKER_HOSTNAMES', '')
