"""What torchaudio and fairseq2 build, from their documented module names: strict state dicts and a plain forward.

Neither library can be imported here as it is; ``scripts/compare_with_tools.py`` runs their own model code where it is
unpacked. A double is made of torch's own layers under their names; its forward is written
from the description of the model, in padding-free form, and shares nothing with our model code.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Names:
    """Dotted module names; {} is the number of a layer."""

    conv: str
    group_norm: str
    conv_norm: str
    feature_norm: str
    projection: str
    pos_conv: str
    norm: dict[bool, str]
    """Names of the layer norm beside the Transformer, for post-LN and pre-LN models."""
    attention: str
    attention_out: str
    attention_norm: str
    ffn_in: str
    ffn_out: str
    ffn_norm: str
    head: str


TORCHAUDIO = Names(
    conv="feature_extractor.conv_layers.{}.conv",
    group_norm="feature_extractor.conv_layers.0.layer_norm",
    conv_norm="feature_extractor.conv_layers.{}.layer_norm",
    feature_norm="encoder.feature_projection.layer_norm",
    projection="encoder.feature_projection.projection",
    pos_conv="encoder.transformer.pos_conv_embed.conv",
    norm={False: "encoder.transformer.layer_norm", True: "encoder.transformer.layer_norm"},
    attention="encoder.transformer.layers.{}.attention",
    attention_out="out_proj",
    attention_norm="encoder.transformer.layers.{}.layer_norm",
    ffn_in="encoder.transformer.layers.{}.feed_forward.intermediate_dense",
    ffn_out="encoder.transformer.layers.{}.feed_forward.output_dense",
    ffn_norm="encoder.transformer.layers.{}.final_layer_norm",
    head="aux",
)
FAIRSEQ2 = Names(
    conv="encoder_frontend.feature_extractor.layers.{}.conv",
    group_norm="encoder_frontend.feature_extractor.layers.0.group_norm",
    conv_norm="encoder_frontend.feature_extractor.layers.{}.layer_norm",
    feature_norm="encoder_frontend.post_extract_layer_norm",
    projection="encoder_frontend.model_dim_proj",
    pos_conv="encoder_frontend.pos_encoder.conv",
    norm={False: "encoder_frontend.layer_norm", True: "encoder.layer_norm"},
    attention="encoder.layers.{}.self_attn",
    attention_out="output_proj",
    attention_norm="encoder.layers.{}.self_attn_layer_norm",
    ffn_in="encoder.layers.{}.ffn.inner_proj",
    ffn_out="encoder.layers.{}.ffn.output_proj",
    ffn_norm="encoder.layers.{}.ffn_layer_norm",
    head="final_proj",
)


class Double(nn.Module):
    """A CTC model (an encoder where ``rows`` is None) built from torchaudio's factory arguments."""

    def __init__(self, names: Names, arguments: dict[str, Any], rows: int | None, *, new_weight_norm: bool) -> None:
        super().__init__()
        self.names, self.arguments = names, arguments
        self.layers = arguments["encoder_num_layers"]
        self.heads, self.first = arguments["encoder_num_heads"], arguments["encoder_layer_norm_first"]
        self.group = arguments["extractor_mode"] == "group_norm"
        width, ffn = arguments["encoder_embed_dim"], arguments["encoder_ff_interm_features"]
        channels, self.convolutions = 1, len(arguments["extractor_conv_layer_config"])
        for place, (out, kernel, stride) in enumerate(arguments["extractor_conv_layer_config"]):
            self._put(
                names.conv, nn.Conv1d(channels, out, kernel, stride, bias=arguments["extractor_conv_bias"]), place
            )
            if not self.group:
                self._put(names.conv_norm, nn.LayerNorm(out), place)
            elif place == 0:
                self._put(names.group_norm, nn.GroupNorm(out, out))
            channels = out
        self._put(names.feature_norm, nn.LayerNorm(channels))
        self._put(names.projection, nn.Linear(channels, width))
        kernel, groups = arguments["encoder_pos_conv_kernel"], arguments["encoder_pos_conv_groups"]
        positions = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups)
        norm = nn.utils.parametrizations.weight_norm if new_weight_norm else nn.utils.weight_norm
        self._put(names.pos_conv, norm(positions, name="weight", dim=2))
        self._put(names.norm[self.first], nn.LayerNorm(width))
        for layer in range(self.layers):
            for part in ("q_proj", "k_proj", "v_proj", names.attention_out):
                self._put(f"{names.attention}.{part}", nn.Linear(width, width), layer)
            self._put(names.attention_norm, nn.LayerNorm(width), layer)
            self._put(names.ffn_in, nn.Linear(width, ffn), layer)
            self._put(names.ffn_out, nn.Linear(ffn, width), layer)
            self._put(names.ffn_norm, nn.LayerNorm(width), layer)
        self.has_head = rows is not None
        if rows is not None:
            self._put(names.head, nn.Linear(width, rows))
        self.eval()

    def _put(self, name: str, module: nn.Module, place: int = 0) -> None:
        *folders, last = name.format(place).split(".")
        home: nn.Module = self
        for folder in folders:
            if not hasattr(home, folder):
                home.add_module(folder, nn.Module())
            home = getattr(home, folder)
        home.add_module(last, module)

    def _get(self, name: str, place: int = 0) -> nn.Module:
        return self.get_submodule(name.format(place))

    def forward(self, waveforms: Tensor) -> Tensor:
        n, x = self.names, waveforms[:, None]
        for place in range(self.convolutions):
            x = self._get(n.conv, place)(x)
            if not self.group:
                x = self._get(n.conv_norm, place)(x.transpose(1, 2)).transpose(1, 2)
            elif place == 0:
                x = self._get(n.group_norm)(x)
            x = F.gelu(x)
        x = self._get(n.projection)(self._get(n.feature_norm)(x.transpose(1, 2)))
        x = x + F.gelu(self._get(n.pos_conv)(x.transpose(1, 2))[:, :, : x.shape[1]]).transpose(1, 2)
        norm = self._get(n.norm[self.first])
        x = x if self.first else norm(x)
        for layer in range(self.layers):
            attention_norm, ffn_norm = self._get(n.attention_norm, layer), self._get(n.ffn_norm, layer)
            if self.first:
                x = x + self._attention(attention_norm(x), layer)
                x = x + self._feed_forward(ffn_norm(x), layer)
            else:
                x = attention_norm(x + self._attention(x, layer))
                x = ffn_norm(x + self._feed_forward(x, layer))
        x = norm(x) if self.first else x
        return self._get(n.head)(x) if self.has_head else x

    def _attention(self, x: Tensor, layer: int) -> Tensor:
        def part(name: str) -> nn.Module:
            return self._get(f"{self.names.attention}.{name}", layer)

        q, k, v = (part(f"{p}_proj")(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for p in "qkv")
        weights = torch.softmax(q @ k.transpose(2, 3) * q.shape[3] ** -0.5, -1)
        return part(self.names.attention_out)((weights @ v).transpose(1, 2).flatten(2))

    def _feed_forward(self, x: Tensor, layer: int) -> Tensor:
        return self._get(self.names.ffn_out, layer)(F.gelu(self._get(self.names.ffn_in, layer)(x)))
