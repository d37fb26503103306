"""Stands where KubeRay does: a Ray with Serve, and each line on stdin is a Serve config to deploy,
or "status", which is printed.

    python kuberay_driver.py DATA_DIR PORT

KubeRay sends the same to the dashboard, which hands it to the controller as is done here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lookalike_serving.local import cluster
from lookalike_serving.local.fork_server import ForkServer
from lookalike_serving.machine import processes
from lookalike_serving.machine.rundir import RunDirectory


def main() -> None:
    run = RunDirectory.of(Path(sys.argv[1]))
    run.path.mkdir(parents=True)
    cluster.prepare(run)
    cluster.start_ray(run, ForkServer(run.ray_dir / "h" / "fork.sock", ()))
    import ray
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    try:
        http = {"host": "127.0.0.1", "port": int(sys.argv[2])}
        serve.start(proxy_location="HeadOnly", http_options=http)
        for line in sys.stdin:
            if line.strip() == "status":
                print(serve.status().applications, flush=True)
                continue
            config = ServeDeploySchema.model_validate(json.loads(line))
            _get_global_client().deploy_apps(config, _blocking=False)
        serve.shutdown()
    finally:
        ray.shutdown()
        processes.end(lambda: processes.of_run(run))
        cluster.remove_ray_dir(run)


main()
