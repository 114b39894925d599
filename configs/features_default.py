"""The settings of `cmsn_jax.settings.features`, for --config=configs/features_default.py."""

from cmsn_jax.settings import features

get_config = features.get_config
