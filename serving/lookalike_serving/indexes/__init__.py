"""The indexes of a data folder as its configuration changes: what each holds, and which are unused.

`index/` is one index behind one protocol; this is about several of them over time.
"""
