"""A ViT-B/32 with random weights as a folder of transformers, for peers that want one.

    python random_clip.py FOLDER BPE

BPE: open_clip's file of byte pairs, which the tokenizer is made of.
"""

import gzip
import json
import sys
from pathlib import Path

from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

folder, pairs = Path(sys.argv[1]), sys.argv[2]
CLIPModel(CLIPConfig()).eval().save_pretrained(folder)
CLIPImageProcessor().save_pretrained(folder)

# The order that CLIP's vocabulary has: bytes, bytes at the end of a word, merges, two marks.
lines = gzip.decompress(Path(pairs).read_bytes()).decode().split("\n")
merges = lines[1 : 49152 - 256 - 2 + 1]
printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
letters = [chr(b) for b in printed] + [chr(256 + n) for n in range(256 - len(printed))]
words = letters + [letter + "</w>" for letter in letters]
words += ["".join(merge.split()) for merge in merges] + ["<|startoftext|>", "<|endoftext|>"]
vocabulary = json.dumps({word: number for number, word in enumerate(words)})
(folder / "vocab.json").write_text(vocabulary)
(folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
(folder / "tokenizer_config.json").write_text(json.dumps(settings))
