"""Image bytes: fetching them safely, decoding them with defined results, thumbnails."""

from lookalike_serving.images.decode import DecodedImage, decode_image
from lookalike_serving.images.errors import Code, ImageError
from lookalike_serving.images.fetch import Fetched, ImageFetcher
from lookalike_serving.images.image_file import ImageFile
from lookalike_serving.images.inline import checked_size
from lookalike_serving.images.reader import Reader
from lookalike_serving.images.store import ImageStore

__all__ = [
    "Code",
    "DecodedImage",
    "Fetched",
    "ImageError",
    "ImageFetcher",
    "ImageFile",
    "ImageStore",
    "Reader",
    "checked_size",
    "decode_image",
]
