# The operator: no torch, no ray, nobody's root.
#
#   docker build -f docker/operator.Dockerfile -t lookalike-operator .
#   buildah build -f docker/operator.Dockerfile -t lookalike-operator .
#
# BASE: any Debian-like image with Python 3.11 or later as python3. A tag can be moved: for a build
# that nobody can change, give it by digest (--build-arg BASE=…@sha256:…).
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
# What it rests on, in versions as locked; a layer that stays while only our code changes.
RUN /uv/bin/uv pip install --python /opt/lookalike/bin/python --compile-bytecode \
      --constraint requirements.lock -r pyproject.toml --extra operator
COPY README.md LICENSE ./
COPY cli cli
COPY crds crds
COPY operator operator
COPY serving serving
COPY sdk/python sdk/python
# One distribution holds all packages: of those that run elsewhere nothing is kept but the name.
RUN /uv/bin/uv pip install --python /opt/lookalike/bin/python --compile-bytecode --no-deps . \
    && rm -rf /opt/lookalike/lib/python3*/site-packages/lookalike_serving

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Lookalike operator" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/lookalike /opt/lookalike
ENV PATH=/opt/lookalike/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["lookalike-operator"]
