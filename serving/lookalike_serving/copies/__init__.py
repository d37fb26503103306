"""Copies of one picture among the documents of a collection.

`find.py` finds candidates – by hashes, by embedding – and compares each with the picture
(`lookalike_serving.duplicates`).
"""
