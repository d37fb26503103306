import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from lookalike_serving.embed.layout import layout_of, turn_weights


def test_convolutional_towers_run_channels_last():
    tower = ModifiedResNet([1, 1, 1, 1], output_dim=8, heads=2, image_size=64, width=8)
    assert layout_of(tower) is torch.channels_last


def test_transformers_with_a_patch_embedding_do_not():
    tower = nn.Sequential(nn.Conv2d(3, 8, 16, 16), nn.Flatten(), nn.Linear(8, 8))
    assert layout_of(tower) is torch.contiguous_format


def test_turned_weights_compute_the_same():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = ResidualAttentionBlock(64, 4).eval()
        tokens = torch.randn(3, 7, 64)
    with torch.inference_mode():
        before = block(tokens)
        turn_weights(block)
        torch.testing.assert_close(block(tokens), before)
    assert block.mlp.c_fc.weight.shape == (256, 64)
    turned = (block.mlp.c_fc.weight, block.attn.in_proj_weight, block.attn.out_proj.weight)
    assert all(weight.t().is_contiguous() for weight in turned)
