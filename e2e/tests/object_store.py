"""An S3 server in the cluster: moto, out of the serving environment, whose lock file has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import botocore.session

from e2e.cluster import restricted
from e2e.cluster.api import Object
from e2e.tests.stage import Stage
from e2e.tests.waiting import until_ready

NAME = "s3"
KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "not-a-secret"
_PORT = 5000


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """Takes any credentials."""

    endpoint: str
    """As pods reach it."""
    client: Any
    """botocore's, from this machine."""

    def bucket(self, name: str) -> None:
        self.client.create_bucket(Bucket=name)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def delete(self, bucket: str, key: str) -> None:
        self.client.delete_object(Bucket=bucket, Key=key)


def start_object_store(stage: Stage) -> ObjectStore:
    """Its pod and its Service, once it takes requests."""
    labels = {"app": NAME}
    environment = stage.environment
    container: Object = {
        "image": environment.image,
        "command": ["python", "-m", "moto.server", "--host", "0.0.0.0", "--port", str(_PORT)],
        "env": environment.environment(),
        "volumeMounts": environment.volume_mounts(),
        "readinessProbe": {
            "httpGet": {"path": "/moto-api/", "port": _PORT},
            "periodSeconds": 1,
            # On a busy machine it is slow, which does not take it out of its Service.
            "timeoutSeconds": 20,
        },
    }
    pod = restricted.pod(
        NAME,
        container,
        labels=labels,
        automountServiceAccountToken=False,
        volumes=stage.environment_volumes(),
    )
    stage.apply(pod)
    service = stage.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": labels, "ports": [{"port": _PORT}]},
        }
    )
    until_ready(stage.api, stage.pod(NAME))
    # moto takes the first part of a host for a bucket, except of an address or of this domain.
    within = f"http://{NAME}.{stage.namespace}.svc.cluster.local:{_PORT}"
    client = botocore.session.Session().create_client(
        "s3",
        endpoint_url=stage.target.route.to(service),
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    return ObjectStore(within, client)
