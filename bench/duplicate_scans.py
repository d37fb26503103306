"""A duplicate scan of a drawn catalogue with known copies: what it finds, and how fast.

    make bench-duplicate-scans [BENCH_ARGS="--documents 500 --sensitivity strict"]

Every tenth picture has a copy that is scaled to two thirds and recompressed, and every fifteenth
one that is mirrored. Beside the scan, in the same run: every picture decoded and hashed, and its
keypoints found, once and in one thread, which is the least that comparing pictures takes. All of it
is processor time. The first scan is of all pictures but one in a hundred, which are new in the
second; the third compares all again, and is the one that the figures above are of.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from itertools import islice
from pathlib import Path

from PIL import Image, ImageOps
from tests.support.configs import collection, serving_config
from tests.support.servers import serving

from lookalike import DuplicateScan, Lookalike
from lookalike_crds.image_collection import DuplicatesSpec
from lookalike_serving.demo.catalogue import render_catalogue
from lookalike_serving.duplicates.compare import Picture
from lookalike_serving.duplicates.verdicts import Sensitivity
from lookalike_serving.images import decode_image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=300, help="Pictures, without copies.")
    parser.add_argument("--sensitivity", type=Sensitivity, default=Sensitivity.STRICT)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pictures, copies = _pictures(Path(folder) / "catalogue", asked.documents)
        config = serving_config(
            Path(folder), collection(Path(folder), "photos", duplicates=DuplicatesSpec())
        )
        with serving(config) as url, Lookalike(url, timeout=600) as client:
            later = dict(islice(reversed(pictures.items()), max(1, len(pictures) // 100)))
            for id, data in pictures.items():
                if id not in later:
                    client.documents.upload("photos", data, document_id=id)
            _, first = _scanned(client, asked.sensitivity)
            for id, data in later.items():
                client.documents.upload("photos", data, document_id=id)
            again, changed = _scanned(client, asked.sensitivity)
            scan, took = _scanned(client, asked.sensitivity, full=True)
            groups = list(client.duplicate_scans.groups("photos", scan.scan_id))
        found, wrong = 0, 0
        for group in groups:
            for member in group.members:
                ids = {group.keeper.document_id, member.document_id}
                same = len({copies.get(id, id) for id in ids}) == 1
                found, wrong = found + same, wrong + (not same)
        begun = time.process_time()
        for data in pictures.values():
            _prepared(data)
        least = time.process_time() - begun
    print(f"{len(pictures):,} documents, {len(copies):,} copies: {scan.state}")
    print(f"found {found} of {len(copies)} copies, {wrong} other pairs")
    print(
        f"scan {len(pictures) / took:.1f} documents/s, preparing alone {len(pictures) / least:.1f}"
    )
    print(f"ratio {least / took:.2f}")
    print(
        f"processor time of the first scan {first:.1f} s, of one after {len(later)} new documents "
        f"{changed:.2f} s ({again.candidates} candidates); ratio {changed / first:.3f}"
    )


def _scanned(
    client: Lookalike, sensitivity: Sensitivity, *, full: bool = False
) -> tuple[DuplicateScan, float]:
    """A scan, and seconds of processor time: the server is in this process."""
    begun = time.process_time()
    scan = client.duplicate_scans.create("photos", sensitivity=sensitivity.value, full=full)
    scan = client.duplicate_scans.wait("photos", scan.scan_id)
    return scan, time.process_time() - begun


def _pictures(folder: Path, count: int) -> tuple[dict[str, bytes], dict[str, str]]:
    """(bytes by document id, the original of each copy)."""
    render_catalogue(folder, count, 7)
    made: dict[str, bytes] = {}
    copies: dict[str, str] = {}
    for number, file in enumerate(sorted(folder.rglob("*.jpg"))):
        made[file.name] = file.read_bytes()
        image = Image.open(file).convert("RGB")
        if number % 10 == 0:
            size = (image.width * 2 // 3, image.height * 2 // 3)
            copies[id := f"small-{file.name}"] = file.name
            made[id] = _encoded(image.resize(size), "JPEG")
        if number % 15 == 0:
            copies[id := f"mirrored-{file.name}"] = file.name
            made[id] = _encoded(ImageOps.mirror(image), "PNG")
    return made, copies


def _encoded(image: Image.Image, format: str) -> bytes:
    out = io.BytesIO()
    image.save(out, format, quality=60)
    return out.getvalue()


def _prepared(data: bytes) -> Picture:
    picture = Picture(decode_image(data).pixels)
    _ = picture.variants, picture.keypoints, picture.asked
    return picture


if __name__ == "__main__":
    main()
