"""One machine: the server process behind `lookalike up`, and the files that it leaves on disk.

    lookalike up  --writes-->  D/run/serving.json, ingest-<collection>.json
                  --starts-->  python -m lookalike_serving.local --config D/run/serving.json
                                   cluster.py   Ray, Serve and its ingress, on loopback
                                   ingestions.py  one child process a collection, in turn
    lookalike apply --asks, through control.py--> the replica to continue with another config
    lookalike status, down  --read-->  D/run/state.json, D/run/progress-<collection>.json

`machine/` defines where these files are and which processes they describe. Whatever is killed, and
when, the next start finds it: a lock that the kernel releases when its holder ends says whether a
server is running, and every process that a server starts has the run's mark in its environment.
"""
