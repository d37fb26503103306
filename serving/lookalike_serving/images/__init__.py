"""Image bytes: fetching them safely, decoding them with defined results, thumbnails."""
