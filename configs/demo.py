"""The settings of `cmsn_jax.settings.demo`, for --config=configs/demo.py."""

from cmsn_jax.settings import demo

get_config = demo.get_config
