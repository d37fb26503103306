"""`import_path: lookalike_serving.kuberay:build`: the application as a RayService runs it.

    applications:
      - name: lookalike
        route_prefix: /
        import_path: lookalike_serving.kuberay:build
        args:
          config: <a ServingConfig as JSON, without its light part>
          metrics_port: 8001  # where each pod serves its replica's own metrics; default: off
        deployments:
          - name: Retriever
            num_replicas: 2
            user_config: <a LightConfig as JSON>
            ray_actor_options: {num_gpus: 1}

Serve restarts replicas when `args` change and reconfigures them in place when `user_config` does:
that is why the two are apart. KubeRay hands the config to Serve as it stands, so what is wrong with
it has to be said here: as the application's status, where the operator and a person find it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lookalike_crds.config import LightConfig, ServingConfig, with_light
from lookalike_crds.config_file import what_is_wrong
from lookalike_serving.service import refuse_open_doors

if TYPE_CHECKING:
    from ray import serve

_ARGS = "args of the Serve application"


def build(args: Mapping[str, Any]) -> serve.Application:
    """The application for `args`. Raises ValueError that names the part that is wrong."""
    from lookalike_serving.answering import Health
    from lookalike_serving.app import deployment_for

    heavy = with_light(config_of(args), LightConfig())
    port = args.get("metrics_port")
    # A pod is ready as soon as Serve calls its replica healthy: that means that it answers.
    return deployment_for(heavy).bind(heavy.model_dump_json(by_alias=True), None, port, Health())


def config_of(args: Mapping[str, Any]) -> ServingConfig:
    """The config in `args`. Raises ValueError that names the part that is wrong."""
    unknown = sorted(set(args) - {"config", "metrics_port"})
    if unknown or "config" not in args:
        told = ", ".join(unknown) or "nothing"
        raise ValueError(f"{_ARGS}: expected `config`, a ServingConfig; found {told}")
    try:
        config = ServingConfig.model_validate(args["config"])
    except ValidationError as failure:
        raise ValueError(f"{_ARGS}: config.{what_is_wrong(failure)}") from None
    port = args.get("metrics_port")
    if port is not None and not (isinstance(port, int) and 1 <= port <= 65535):
        raise ValueError(f"{_ARGS}: metrics_port: {port!r} is no port: write one from 1 to 65535")
    refuse_open_doors(config)
    return config
