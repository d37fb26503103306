"""The indexes of a data folder as configurations change: what each held, and what was left behind.

`index/` is one index behind one protocol; this is about several of them over time.
"""
