"""Image bytes: fetching them safely, decoding them with defined results, thumbnails."""

from lookalike_serving.images.decode import DecodedImage, decode_image
from lookalike_serving.images.errors import Code, ImageError
from lookalike_serving.images.fetch import Fetched, ImageFetcher
from lookalike_serving.images.reference import checked_size, load_reference
from lookalike_serving.images.store import ImageStore

__all__ = [
    "Code",
    "DecodedImage",
    "Fetched",
    "ImageError",
    "ImageFetcher",
    "ImageStore",
    "checked_size",
    "decode_image",
    "load_reference",
]
