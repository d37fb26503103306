"""Ray Serve's settings that the request path rests on (docs/adr/0001).

Serve reads them when it is imported, in every process: they must be in the environment before that,
so this module imports nothing. Here, since the operator writes them into Ray's pods and serving
sets them for the Ray it starts itself.
"""

RAY_SERVE_ENVIRONMENT: dict[str, str] = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    # A client that sends nothing for so long is given up, where Serve would wait for an hour.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
}
