"""`python -m e2e.cluster`: the node of this machine, from the command line."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import yaml

from e2e.cluster import binaries, builds, serving_env
from e2e.cluster.errors import DidNotBuild, DidNotStart, Unavailable
from e2e.cluster.node import Node
from e2e.cluster.paths import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=__doc__)
    parser.add_argument("--state-dir", type=Path, help="default: node/ in the cache")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring it up; twice is fine")
    up.add_argument("--kuberay", action="store_true", help="with KubeRay's operator")
    commands.add_parser("down", help="take it down and leave nothing but its logs")
    commands.add_parser("status", help="which parts run; exit code 1 unless all do")
    commands.add_parser("env", help='for eval "$(python -m e2e.cluster env)": KUBECONFIG, PATH')
    commands.add_parser("build", help="build all programs ahead of time")
    commands.add_parser(
        "serving-env", help="make what pods are given of the project; print it as a podTemplate"
    )
    image = commands.add_parser("image", help="build a Dockerfile and give the image to the node")
    image.add_argument("dockerfile", type=Path)
    image.add_argument("tag")
    image.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    image.add_argument("--context", type=Path, default=ROOT)
    arguments = parser.parse_args()
    node = Node(arguments.state_dir)
    try:
        return _run(node, arguments)
    except (Unavailable, DidNotStart, DidNotBuild) as reason:
        print(reason, file=sys.stderr)
        return 1


def _run(node: Node, arguments: argparse.Namespace) -> int:
    begun = time.monotonic()
    match arguments.command:
        case "up":
            node.up(with_kuberay=arguments.kuberay)
            print(f"The node is ready after {time.monotonic() - begun:.0f} s.")
            print(f"export KUBECONFIG={node.kubeconfig}")
        case "down":
            node.down()
            if left := node.leftovers():
                print("These could not be removed:", *left, sep="\n  ", file=sys.stderr)
                return 1
        case "status":
            for part in node.parts():
                print(f"{part.name:<26}{'runs' if part.runs else 'down':<6}{part.log}")
            return 0 if node.runs() else 1
        case "env":
            print(f"export KUBECONFIG={node.kubeconfig}")
            folders = [binaries.program(name).parent for name in ("kubectl", "helm")]
            print(f"export PATH={':'.join(map(str, folders))}:$PATH")
        case "build":
            for module in binaries.MODULES:
                binaries.ensure(module)
        case "serving-env":
            template = serving_env.ensure().pod_template("serving")
            print(yaml.safe_dump({"podTemplate": template}, sort_keys=False), end="")
        case "image":
            archive = builds.build_image(
                arguments.dockerfile,
                arguments.tag,
                context=arguments.context,
                arguments=dict(each.split("=", 1) for each in arguments.build_arg),
            )
            if node.runs():
                node.import_image(archive)
            print(archive)
    return 0


if __name__ == "__main__":
    sys.exit(main())
