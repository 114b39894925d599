"""Starts JAX on one or many processes, before anything else touches it."""

import os

# Environments in which jax.distributed finds its own coordinator: what must be
# set, and where the number of processes stands.
_CLUSTER_VARIABLES = (
  # The list of nodes is that of `srun`: a script under sbatch alone is one
  # process, however many tasks the job has.
  (('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_PROCID'), 'SLURM_NTASKS'),
  (('OMPI_MCA_orte_hnp_uri',), 'OMPI_COMM_WORLD_SIZE'),
)


def start(
  simulate_devices: int = 0,
  coordinator: str = '',
  num_processes: int = 0,
  process_id: int = -1,
  multi_host: bool = False,
) -> None:
  """Sets up devices and processes.

  Without flags, several processes are found by themselves on Slurm (srun),
  Open MPI 4 (mpirun) and Cloud TPU pods whose environment names the hosts.

  Args:
    simulate_devices: CPU devices to pretend; 0: what is there.
    coordinator: host:port of process 0.
    num_processes: in all.
    process_id: of this one.
    multi_host: let JAX look for the others wherever it knows to.

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
  elif multi_host or _on_a_cluster():
    jax.distributed.initialize()
  else:
    return
  from cmsn_jax.training import parallel

  parallel.connect()


def announce_devices(quiet: bool) -> None:
  """Prints what JAX computes on, once for all processes; nothing if `quiet`."""
  import jax

  if quiet or jax.process_index():
    return
  found = jax.devices()
  kinds = ', '.join(sorted({device.device_kind for device in found}))
  processes = jax.process_count()
  where = f' in {processes} processes' if processes > 1 else ''
  print(
    f'computing on {len(found)} {found[0].platform.upper()} device'
    f'{"s" if len(found) > 1 else ""} ({kinds}){where}, jax {jax.__version__}',
    flush=True,
  )


def _on_a_cluster():
  for names, size in _CLUSTER_VARIABLES:
    if all(name in os.environ for name in names):
      if int(os.environ.get(size, '1')) > 1:
        return True
  # A TPU pod: more than one host serves it.
  return ',' in os.environ.get('TPU_WORKER_HOSTNAMES', '')
