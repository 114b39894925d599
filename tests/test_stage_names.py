from cmsn_jax import stage_names


def test_each_name_has_its_number():
  assert stage_names.COUNT == 6
  numbers = [getattr(stage_names, name.upper()) for name in stage_names.NAMES]
  assert numbers == list(range(stage_names.COUNT))
