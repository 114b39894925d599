# An image with every command, from this repository alone:
#
#   docker build -t cmsn_jax .
#   docker build -t cmsn_jax:cuda13 --build-arg VARIANT=cuda13 .
#   docker run --rm cmsn_jax demo --smoke --workdir=/tmp/demo
#
# docs/deploy.md says how the service runs in it.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
# cpu; cuda13 for an NVIDIA driver 580 or newer, cuda12 for 525 or newer: the
# CUDA libraries come from PyPI with jax, the driver from the host.
ARG VARIANT=cpu
WORKDIR /src
COPY pyproject.toml README.md LICENSE requirements*.txt ./
COPY cmsn_jax/ cmsn_jax/
COPY configs/ configs/
COPY launch/ launch/
RUN python -m venv /opt/cmsn
RUN extras="formats,serve"; \
  if [ "$VARIANT" != cpu ]; then extras="$extras,$VARIANT"; fi; \
  /opt/cmsn/bin/python -m pip install --no-cache-dir ".[$extras]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/cmsn /opt/cmsn
# Compiled programs and fonts are kept where anybody may write.
ENV PATH=/opt/cmsn/bin:$PATH \
  XDG_CACHE_HOME=/tmp/cache \
  MPLCONFIGDIR=/tmp/matplotlib \
  PYTHONUNBUFFERED=1
WORKDIR /data
USER 1000:1000
EXPOSE 8300
ENTRYPOINT ["cmsn"]
