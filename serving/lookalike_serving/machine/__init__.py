"""The machine that a process runs on: its CPUs and its disk, the folders and processes of a run.

`rundir.py` and `processes.py` import nothing beyond the standard library, and `edge_places.py` no
engine: the command line uses them in the light install, too.
"""
