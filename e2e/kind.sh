#!/usr/bin/env bash
# The end-to-end tests on kind: `make e2e-kind`. Needs Docker, kind, kubectl and Helm.
#
# Builds both images, makes a cluster `lookalike-e2e` with KubeRay in it, runs the tests and deletes
# the cluster; LOOKALIKE_E2E_KEEP=1 leaves it, its kubeconfig beside it, and a second run uses it.
# Prometheus and Qdrant come from Docker Hub, KubeRay from its Helm repository.
set -euo pipefail
cd "$(dirname "$0")/.."

CLUSTER=lookalike-e2e
OPERATOR=lookalike-e2e/operator:test
SERVING=lookalike-e2e/serving:test
KUBERAY=1.5.1
KUBECONFIG_FILE=${LOOKALIKE_CACHE:-$HOME/.cache/lookalike}/kind/kubeconfig

for program in docker kind kubectl helm; do
  command -v "$program" >/dev/null \
    || { echo "make e2e-kind needs $program on the PATH; without Docker, as root on Debian: make e2e" >&2; exit 1; }
done
docker info >/dev/null 2>&1 \
  || { echo "make e2e-kind: the Docker daemon does not answer (docker info says why)" >&2; exit 1; }

say() { printf '\n=== %s\n' "$1"; }

say "images"
docker build -f docker/operator.Dockerfile -t "$OPERATOR" .
docker build -f docker/serving.Dockerfile -t "$SERVING" .

say "cluster"
mkdir -p "$(dirname "$KUBECONFIG_FILE")"
if ! kind get clusters 2>/dev/null | grep -qx "$CLUSTER"; then
  kind create cluster --name "$CLUSTER" --kubeconfig "$KUBECONFIG_FILE" --wait 180s
fi
if [ "${LOOKALIKE_E2E_KEEP:-}" != 1 ]; then
  trap 'kind delete cluster --name "$CLUSTER" --kubeconfig "$KUBECONFIG_FILE"' EXIT
fi
kind load docker-image "$OPERATOR" "$SERVING" --name "$CLUSTER"
helm upgrade --install kuberay-operator kuberay-operator --version "$KUBERAY" --wait \
  --repo https://ray-project.github.io/kuberay-helm/ \
  --namespace kuberay --create-namespace --kubeconfig "$KUBECONFIG_FILE"

say "tests"
export LOOKALIKE_E2E_QDRANT_IMAGE=${LOOKALIKE_E2E_QDRANT_IMAGE-docker.io/qdrant/qdrant:v1.20.0}
make e2e-cluster KUBECONFIG="$KUBECONFIG_FILE" OPERATOR_IMAGE="$OPERATOR" SERVING_IMAGE="$SERVING"
