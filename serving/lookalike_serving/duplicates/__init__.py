"""Whether two pictures are the same picture: verdicts with evidence.

    pixels -> Picture (hashes, keypoints, a small view) -> compare(a, b) -> Comparison

Three verdicts, never one score, since "similar" must not be sold as "duplicate":

- `exact`: the same pixels, whatever the files are.
- `copy`: the same picture, edited: cropped, scaled, recompressed, recoloured as a whole, framed,
  written on, mirrored, turned. Where one picture lies in the other is known, and the pixels there
  agree.
- `similar`: another picture that looks alike, by the embedding alone.

Nothing here reads a file, an index or a clock: `compare` is a pure function of its arguments, so
that a single question and a scan of a whole collection give the same answer. `hashes.py` makes what
a collection keeps for each document, `hamming.py` finds the nearest of many hashes, `keypoints.py`
and `geometry.py` find where one picture lies in the other, and `agreement.py` checks that the
pixels there agree.

Needs OpenCV: `pip install 'lookalike[duplicates,serving]'`.
"""
