"""One machine: the server process behind `lookalike up`, and the traces it leaves on disk.

    lookalike up  --writes-->  D/run/serving.json, ingest-<collection>.json
                  --starts-->  python -m lookalike_serving.local --config D/run/serving.json
                                   cluster.py   Ray, Serve and its ingress, on loopback
                                   ingestions.py  one child process a collection, in turn
    lookalike apply  --asks, through control.py-->  the replica to go on with another config
    lookalike status, down  --read-->  D/run/state.json, D/run/progress-<collection>.json

Where those traces lie, and whose processes they tell of, is in `machine/`.

Whatever is killed, and when, the next start finds it: a lock that the kernel drops with its holder
says whether a server lives, and all that a server starts carries the run's mark in its environment.
"""
