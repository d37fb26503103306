"""What a picture is compared by, small enough to be kept of every document: its keypoints, and the
view that is laid upon the other picture.

    a picture -> keypoints, view -> Features -> about 37 KB -> as text in a record, about 50 KB

The view is a WebP of quality 85; the descriptors have four bits a number, of which neighbouring
ones of a picture compress by a quarter. Verdicts by features are those by images in all but a few
cases at the margin: `make bench-duplicates BENCH_ARGS=--features` measures them.
"""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from lookalike_serving.duplicates.hashes import Pixels, scaled
from lookalike_serving.duplicates.keypoints import Keypoints, keypoints

VIEW_SIDE = 512
"""The longer side, pixels, of the picture that is laid upon another one."""
_QUALITY = 85
_HEAD = struct.Struct("<BHHHI")
"""Version, width and height of the picture that the keypoints lie in, their number, bytes of the
packed keypoints; the view follows."""
_VERSION = 1
_SUBPIXELS = 64
_STEP = 6
"""Of descriptors, whose numbers are seldom above 80: four bits are enough for all that differ."""
_MOST = 4096
"""Keypoints that a record may claim to have."""


@dataclass(frozen=True, slots=True)
class Features:
    """As they are kept: both parts are unpacked when they are needed."""

    packed_keypoints: bytes
    count: int
    width: int
    height: int
    """Of the picture that the keypoints lie in."""
    packed_view: bytes

    @classmethod
    def of(cls, pixels: Pixels) -> Self:
        """Of an upright picture. About 100 ms of processor time."""
        view = scaled(pixels, VIEW_SIDE)
        found = keypoints(view)
        places = np.round(found.places * _SUBPIXELS).clip(0, 0xFFFF).astype("<u2")
        few = np.round(found.descriptors / _STEP).clip(0, 15).astype(np.uint8)
        nibbles = few[:, ::2] | few[:, 1::2] << 4
        packed = zlib.compress(places.tobytes() + nibbles.tobytes())
        options = [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
        _, drawn = cv2.imencode(".webp", np.ascontiguousarray(view[..., ::-1]), options)
        return cls(packed, len(found), found.width, found.height, drawn.tobytes())

    def keypoints(self) -> Keypoints:
        unpacked = zlib.decompress(self.packed_keypoints)
        places = np.frombuffer(unpacked, "<u2", self.count * 2).reshape(-1, 2)
        nibbles = np.frombuffer(unpacked, np.uint8, self.count * 64, self.count * 4)
        descriptors = np.empty((self.count, 128), np.uint8)
        split = nibbles.reshape(-1, 64)
        descriptors[:, ::2], descriptors[:, 1::2] = split & 15, split >> 4
        return Keypoints(
            (places / np.float32(_SUBPIXELS)).astype(np.float32),
            descriptors * np.uint8(_STEP),
            self.width,
            self.height,
        )

    def view(self) -> Pixels:
        drawn = cv2.imdecode(np.frombuffer(self.packed_view, np.uint8), cv2.IMREAD_COLOR)
        return np.ascontiguousarray(np.asarray(drawn, np.uint8)[..., ::-1])

    def stored(self) -> str:
        head = _HEAD.pack(_VERSION, self.width, self.height, self.count, len(self.packed_keypoints))
        return base64.b64encode(head + self.packed_keypoints + self.packed_view).decode()

    @classmethod
    def read(cls, stored: str | None) -> Self | None:
        """None for what another version wrote, or what is damaged: the image is opened instead."""
        try:
            raw = base64.b64decode(stored or "", validate=True)
            version, width, height, count, size = _HEAD.unpack_from(raw)
            keypoints, view = raw[_HEAD.size : _HEAD.size + size], raw[_HEAD.size + size :]
            if version != _VERSION or count > _MOST:
                return None
            unpacked = zlib.decompressobj().decompress(keypoints, count * 68 + 1)
        except (ValueError, struct.error, zlib.error):
            return None
        if len(unpacked) != count * 68 or view[8:12] != b"WEBP":
            return None
        return cls(keypoints, count, width, height, view)
