"""Text towers of open_clip, run on as many tokens as the texts have.

CLIP pads every text to 77 tokens, and then reads the vector at the end-of-text token. Where
attention is causal that position sees nothing of the padding behind it: leaving the padding
out gives the same vector for a small part of the work (a search text has 5 to 10 tokens).
Towers that are not causal (SigLIP, RoBERTa) get the full context.

Tokens go through as (length, n, width): torch's attention turns (n, length, width) around before
its first matrix product, which then is no longer contiguous and repacks the weights for each text
(2 to 8 texts took 1.2 to 1.6 times as long on a CPU).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.transformer import text_global_pool
from torch import nn

TextEncoder = Callable[[torch.Tensor], torch.Tensor]
"""(n, context) token ids -> (n, d), not normalised."""


@dataclass(frozen=True, slots=True)
class CausalTower:
    """The parts of a causal text tower, whichever class of open_clip holds them."""

    token_embedding: nn.Module
    positional_embedding: torch.Tensor
    transformer: Any
    ln_final: nn.Module
    projection: nn.Module | torch.Tensor | None
    mask: torch.Tensor
    pool_type: str
    eos_id: int
    """Read by pool type `eos` alone."""

    def cut(self, tokens: torch.Tensor) -> torch.Tensor:
        """Without the padding behind the longest text."""
        return tokens[:, : int(self._end(tokens).max()) + 1]

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.read(self.cut(tokens))

    def read(self, tokens: torch.Tensor) -> torch.Tensor:
        """Of tokens that are cut."""
        length = tokens.shape[1]
        dtype = self.transformer.get_cast_dtype()
        x = self.token_embedding(tokens).to(dtype) + self.positional_embedding[:length].to(dtype)
        # A mask of another type than the values sends attention down a path ten times slower.
        x = self.transformer(x, attn_mask=self.mask[:length, :length].to(x.device, dtype))
        pooled = text_global_pool(
            self.ln_final(x), tokens, self.pool_type, eos_token_id=self.eos_id
        )
        assert isinstance(pooled, torch.Tensor)
        if self.projection is None:
            return pooled
        if isinstance(self.projection, nn.Module):
            return torch.as_tensor(self.projection(pooled))
        return pooled @ self.projection

    def _end(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n,) the position that is read, for each text."""
        if self.pool_type == "eos":
            return torch.eq(tokens, self.eos_id).int().argmax(dim=-1)
        return tokens.argmax(dim=-1)


def text_encoder(model: Any) -> TextEncoder:
    """The quickest right way to run `model`'s text tower with torch."""
    return causal_tower(model) or full_context(model)


def full_context(model: Any) -> TextEncoder:
    def encode(tokens: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(model.encode_text(tokens))

    return encode


def text_weights(model: Any) -> nn.Module:
    """The parameters of `model`'s text tower, without those of its image tower."""
    if isinstance(tower := getattr(model, "text", None), nn.Module):
        return tower
    holder = nn.Module()
    for name, module in model.named_children():
        if name != "visual":
            holder.add_module(name, module)
    for name, parameter in model.named_parameters(recurse=False):
        holder.register_parameter(name, parameter)
    return holder


def causal_tower(model: Any) -> CausalTower | None:
    """The model's text tower taken apart, or None if padding may matter to its vectors."""
    tower = getattr(model, "text", model)  # CustomTextCLIP keeps it apart, CLIP spreads it out
    mask = getattr(tower, "attn_mask", None)
    # CLIP renames what its tower calls pool_type and eos_id.
    pool_type = getattr(tower, "pool_type", None) or getattr(tower, "text_pool_type", None)
    eos_id = getattr(tower, "eos_id", None) or getattr(tower, "text_eos_id", None) or 0
    parts = ("token_embedding", "positional_embedding", "transformer", "ln_final")
    if (
        pool_type not in ("argmax", "eos")
        or getattr(tower, "cls_emb", None) is not None  # CoCa appends a token that sees all
        or not isinstance(mask, torch.Tensor)
        or not _is_causal(mask)
        or not all(hasattr(tower, part) for part in parts)
        or not hasattr(tower.transformer, "get_cast_dtype")
    ):
        return None
    _length_first(tower.transformer)
    return CausalTower(
        token_embedding=tower.token_embedding,
        positional_embedding=tower.positional_embedding,
        transformer=tower.transformer,
        ln_final=tower.ln_final,
        projection=tower.text_projection,
        mask=mask,
        pool_type=pool_type,
        eos_id=eos_id,
    )


def _length_first(transformer: nn.Module) -> None:
    """Let `transformer` work on (length, n, width); it still takes and gives (n, length, width)."""
    for module in transformer.modules():
        if hasattr(module, "batch_first"):
            setattr(module, "batch_first", False)  # noqa: B010 - not declared by Module


def _is_causal(mask: torch.Tensor) -> bool:
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1]:
        return False
    ahead = torch.ones_like(mask, dtype=torch.bool).triu(1)
    return bool((mask[ahead] == float("-inf")).all())
