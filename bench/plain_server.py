"""The API under plain uvicorn: without Ray Serve and HAProxy. For bench/http_peers.py.

python plain_server.py CONFIG
"""

import sys
from pathlib import Path

import uvicorn

from lookalike_crds.config import ServingConfig
from lookalike_serving.gateway.api import create_api
from lookalike_serving.service import Service

config = ServingConfig.model_validate_json(Path(sys.argv[1]).read_text())
api = create_api(lambda: Service.start(config))
uvicorn.run(api, host="127.0.0.1", port=config.http.port, log_level="error")
