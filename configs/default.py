"""The settings of `cmsn_jax.settings.default`, for --config=configs/default.py."""

from cmsn_jax.settings import default

get_config = default.get_config
