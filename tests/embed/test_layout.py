import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import nn

from lookalike_serving.embed.layout import layout_of


def test_convolutional_towers_run_channels_last():
    tower = ModifiedResNet([1, 1, 1, 1], output_dim=8, heads=2, image_size=64, width=8)
    assert layout_of(tower) is torch.channels_last


def test_transformers_with_a_patch_embedding_do_not():
    tower = nn.Sequential(nn.Conv2d(3, 8, 16, 16), nn.Flatten(), nn.Linear(8, 8))
    assert layout_of(tower) is torch.contiguous_format
