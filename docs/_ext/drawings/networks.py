"""The networks of the separators, with the shapes that their modules return."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sksep import (
    DeepClusteringSeparator,
    HybridClusteringSeparator,
    MelChunker,
    UHNetSeparator,
    UNetSeparator,
)

from .canvas import GRAY, INPUT, LOSS, OUTPUT, WIDTH, Drawing

_LEFT, _MIDDLE, _RIGHT = 92.0, WIDTH / 2, 268.0


def network_of(separator: Any) -> tuple[Any, Tensor]:
    """The network of a separator behind `MelChunker` as it is, and a chunk for it."""
    front_end = MelChunker().fit([]).front_end_
    return separator._network(front_end), torch.zeros(1, 1, front_end.n_frames, front_end.n_bands)


def count_parameters(network: nn.Module) -> str:
    """With commas."""
    return f"{sum(parameter.numel() for parameter in network.parameters()):,} parameters"


def _shapes_in(network: nn.Module, inputs: Tensor) -> dict[str, str]:
    """Shape, without the batch, of what each submodule returns (first), by its name."""
    shapes: dict[str, str] = {}
    for name, module in network.named_modules():

        def record(_: Any, __: Any, output: Any, name: str = name) -> None:
            while isinstance(output, (tuple, list)):
                output = output[0]
            shapes[name] = _times(output.shape[1:])

        module.register_forward_hook(record)
    with torch.inference_mode():
        network.eval()(inputs)
    return shapes


def _times(shape: torch.Size) -> str:
    """16 × 128 × 128."""
    return " × ".join(str(size) for size in shape)


def draw_unet() -> Drawing:
    """The U-Net of `UNetSeparator`."""
    network, chunk = network_of(UNetSeparator())
    shapes = _shapes_in(network, chunk)
    n_levels = len(network.encoders)
    row, top, left, right = 66.0, 88.0, 88.0, 272.0
    bottom = top + row * n_levels
    drawing = Drawing(bottom + 118)
    drawing.box(left, 26, f"log-mel chunk\n{_times(chunk.shape[1:])}", 128, color=INPUT)
    drawing.arrow((left, 41), (left, top - 15))
    for level in range(n_levels):
        y, width = top + level * row, 128 - 10 * level
        drawing.box(left, y, shapes[f"encoders.{level}"], width)
        drawing.box(right, y, shapes[f"decoders.{n_levels - 1 - level}"], width)
        drawing.arrow((left + width / 2, y), (right - width / 2, y), color=GRAY, dashed=True)
        if level < n_levels - 1:
            drawing.arrow((left, y + 15), (left, y + row - 15))
            drawing.arrow((right, y + row - 15), (right, y + 15))
    drawing.bent_arrow((left, bottom - row + 15), (left, bottom), (_MIDDLE - 44, bottom))
    drawing.bent_arrow((_MIDDLE + 44, bottom), (right, bottom), (right, bottom - row + 15))
    drawing.note(left - 6, top + row / 2, "max-\npooling", ha="right")
    drawing.note(right + 6, top + row / 2, "transposed\nconvolution", ha="left")
    drawing.note(_MIDDLE, top - 8, {"concatenate": "join", "add": "add"}[network.skip])
    drawing.box(_MIDDLE, bottom, shapes["bottom"], 88)
    drawing.note(_MIDDLE, bottom + 23, f"dropout {network.dropout.p:g}")
    drawing.box(right, 26, f"vocal mask\n{shapes['head']}", 128, color=OUTPUT)
    drawing.arrow((right, top - 15), (right, 41))
    drawing.note(right + 6, 57, "1 × 1, sigmoid", ha="left")
    caption = (
        "Boxes: filters × frames × bands behind two 3 × 3 convolutions,\n"
        "each with batch normalization and ReLU. Dashed: the encoder's\n"
        "features are concatenated with those from below.\n"
        f"{count_parameters(network)}."
    )
    drawing.text(_MIDDLE, bottom + 72, caption, size=9)
    return drawing


def _draw_recurrent(drawing: Drawing, body: Any, chunk: Tensor) -> float:
    """From a chunk to a vector per frame; where the next part may begin."""
    n_frames, n_bands = chunk.shape[2:]
    n_layers = body.recurrent.num_layers
    layer = f"bidirectional {body.recurrent.mode}, 2 × {body.recurrent.hidden_size} units"
    x, y = _MIDDLE, 64.0
    drawing.box(x, 20, f"log-mel chunk, {n_frames} frames × {n_bands} bands", 220, 24, INPUT)
    drawing.arrow((x, 32), (x, 52))
    for _ in range(n_layers - 1):
        drawing.box(x, y, layer, 200, 24)
        drawing.arrow((x, y + 12), (x, y + 18))
        y += 30
    drawing.box(x, y, layer, 200, 24)
    dropout = f"dropout\n{body.dropout.p:g}\nbehind\neach"
    drawing.note(x + 106, y - 15 * (n_layers - 1), dropout, ha="left")
    drawing.arrow((x, y + 12), (x, y + 28))
    drawing.text(x, y + 37, f"{n_frames} frames × {body.n_features}", size=9)
    return y + 46


def draw_deep_clustering() -> Drawing:
    """The network of `DeepClusteringSeparator`, and what becomes of its embeddings."""
    separator = DeepClusteringSeparator()
    network, chunk = network_of(separator)
    linear = network.embedding
    drawing = Drawing(476)
    x, left, right = _MIDDLE, _LEFT, _RIGHT
    y = _draw_recurrent(drawing, network.body, chunk)
    drawing.arrow((x, y), (x, y + 16))
    text = f"linear {linear.in_features} → {linear.out_features:,}\ntanh, unit length"
    drawing.box(x, y + 34, text, 200, 36)
    drawing.arrow((x, y + 52), (x, y + 68))
    y += 86
    embeddings = _shapes_in(network, chunk)[""]
    drawing.box(x, y, f"an embedding per bin\n{embeddings}", 200, 36, OUTPUT)
    drawing.arrow((x - 50, y + 18), (left, y + 52), dashed=True)
    drawing.arrow((x + 50, y + 18), (right, y + 52))
    drawing.note(left - 4, y + 34, "training", ha="right")
    drawing.note(right + 4, y + 34, "predicting", ha="left")
    loss = "clustering loss against\nthe binary mask,\nloud bins weigh more"
    drawing.box(left, y + 74, loss, 150, 44, LOSS)
    clusters = f"K-means, 2 clusters, on\n≤ {separator.max_samples:,} loud bins\nof the track"
    drawing.box(right, y + 74, clusters, 150, 44)
    drawing.arrow((right, y + 96), (right, y + 114))
    drawing.box(right, y + 129, "vocal mask, 0 or 1", 150, color=OUTPUT)
    drawing.text(left, y + 129, count_parameters(network), size=9)
    return drawing


def draw_hybrid_clustering() -> Drawing:
    """The network of `HybridClusteringSeparator` with its two heads."""
    separator = HybridClusteringSeparator()
    network, chunk = network_of(separator)
    drawing = Drawing(534)
    x, left, right = _MIDDLE, _LEFT, _RIGHT
    y = _draw_recurrent(drawing, network.body, chunk)
    drawing.arrow((x - 30, y), (left, y + 24))
    drawing.arrow((x + 30, y), (right, y + 24))
    y += 42
    embedding, mask = network.embedding.out_features, network.mask.out_features
    drawing.box(left, y, f"linear → {embedding:,}\ntanh, unit length", 150, 36)
    softmax = f"linear → {mask}\nsoftmax over {network.n_sources} sources"
    drawing.box(right, y, softmax, 150, 36)
    for center in (left, right):
        drawing.arrow((center, y + 18), (center, y + 34))
    y += 54
    hidden = torch.zeros(1, chunk.shape[2], network.body.n_features)
    embeddings = _times(network.embed(hidden).shape[1:])
    masks = _times(network.mask_logits(hidden).shape[1:])
    drawing.box(left, y, f"embeddings\n{embeddings}", 150, 40)
    drawing.box(right, y, f"masks of vocals and\naccompaniment\n{masks}", 150, 44)
    for center, end in ((left, y + 20), (right, y + 22)):
        drawing.arrow((center - 50, end), (center - 50, y + 42), dashed=True)
        drawing.arrow((center + 60, end), (center + 60, y + 98))
    clustering = f"{separator.alpha:g} × clustering loss\n(binary mask)"
    cross_entropy = f"{1 - separator.alpha:g} × cross-entropy\n(proportion mask)"
    drawing.box(left - 16, y + 60, clustering, 118, 36, LOSS, size=9)
    drawing.box(right - 16, y + 60, cross_entropy, 118, 36, LOSS, size=9)
    y += 122
    k_means = "K-means on the track;\nthe masks name\nthe vocal cluster"
    drawing.box(left, y, k_means, 150, 48, OUTPUT)
    drawing.note(left - 16, y - 34, 'output="clusters"')
    drawing.box(right, y, "the vocal mask\nas it is", 150, 48, OUTPUT)
    drawing.note(right - 16, y - 34, 'output="mask"')
    drawing.text(x, y + 50, f"Dashed: losses in training.\n{count_parameters(network)}.", size=9)
    return drawing


def draw_uhnet() -> Drawing:
    """The joint network of `UHNetSeparator`."""
    separator = UHNetSeparator()
    network, chunk = network_of(separator)
    shapes = _shapes_in(network, chunk)
    n_frames, n_bands = chunk.shape[2:]
    recurrent, unet = network.clustering.body.recurrent, network.unet.bodies[0]
    n_channels = unet.encoders[0][0].in_channels
    embedding_dim = network.clustering.embedding.out_features // n_bands
    n_sources = network.clustering.n_sources
    drawing = Drawing(530)
    left, middle, right = 112.0, _MIDDLE, 296.0
    drawing.box(middle, 22, f"log-mel chunk, {n_frames} frames × {n_bands} bands", 230, 26, INPUT)
    drawing.arrow((left, 35), (left, 62))
    layers = f"{recurrent.num_layers} bidirectional {recurrent.mode} layers"
    drawing.box(left, 86, f"{layers}\n2 × {recurrent.hidden_size} units", 170, 44)
    drawing.arrow((left - 40, 108), (left - 40, 136))
    drawing.arrow((left + 40, 108), (left + 40, 136))
    embeddings = f"embeddings\n{n_frames} × {n_bands}\n× {embedding_dim}"
    drawing.box(left - 51, 158, embeddings, 92, 44)
    drawing.box(left + 51, 158, f"softmax masks\n{n_sources} × {n_frames}\n× {n_bands}", 92, 44)
    drawing.arrow((left - 51, 180), (left - 51, 214), dashed=True)
    clustering = f"{separator.alpha:g} × clustering\nloss (binary\nmask)"
    drawing.box(left - 51, 242, clustering, 92, 52, LOSS)
    drawing.arrow((left + 30, 180), (left + 30, 214), dashed=True)
    mask_loss = f"{1 - separator.alpha:g} × mask loss\n(proportion\nmask)"
    drawing.box(left + 51, 242, mask_loss, 92, 52, LOSS)
    drawing.bent_arrow((left + 97, 158), (right - 26, 158), (right - 26, 290))
    drawing.arrow((right, 35), (right, 290))
    drawing.note(right + 5, 100, "the chunk\nitself", ha="left")
    drawing.note(right - 32, 168, "2 channels", ha="right", va="top")
    channels = f"{n_channels} channels, {n_channels} × {n_frames} × {n_bands}"
    drawing.box(right - 40, 306, channels, 150, 32, INPUT)
    drawing.arrow((right - 40, 322), (right - 40, 346))
    first, last = shapes["unet.bodies.0.encoders.0"], shapes["unet.bodies.0.bottom"]
    levels = f"U-Net of {unet.n_levels} levels: {first} down to\n{last}, and up again"
    drawing.box(middle, 376, levels, 300, 60)
    drawing.arrow((middle, 406), (middle, 430))
    drawing.note(middle + 6, 417, "1 × 1, sigmoid", ha="left")
    drawing.box(middle, 448, f"vocal mask, {n_frames} × {n_bands}", 150, 36, OUTPUT)
    drawing.arrow((middle - 75, 448), (middle - 89, 448), dashed=True)
    drawing.box(46, 448, "mask loss\n(proportion\nmask)", 88, 52, LOSS)
    caption = (
        "Dashed: the losses, whose sum is minimized; gradients of the U-Net\n"
        "reach the recurrent layers through the masks.\n"
        f"{count_parameters(network)}."
    )
    drawing.text(middle, 502, caption, size=9)
    return drawing


def draw_pyramid() -> Drawing:
    """The pyramid of U-Nets of ``UHNetSeparator(n_levels=3)``."""
    network, chunk = network_of(UHNetSeparator(n_levels=3))
    unet = network.unet
    n_levels = len(unet.bodies)
    row = 96.0
    drawing = Drawing(row * n_levels + 62)
    x_input, x_body, x_head = 58.0, 180.0, 302.0
    shapes = _shapes_in(unet, torch.zeros(1, 3, *chunk.shape[2:]))
    n_frames, n_bands = chunk.shape[2:]
    for level in range(n_levels):
        y, factor = 40 + row * level, 2**level
        size = f"{n_frames // factor} × {n_bands // factor}"
        drawing.box(x_input, y, f"3 channels\n{size}", 92, 40, INPUT)
        drawing.box(x_body, y, f"U-Net,\n{unet.bodies[level].n_levels} halvings", 92, 40)
        mask = f"mask\n{shapes[f'heads.{level}'].removeprefix('1 × ')}"
        mask += f", × {factor}" if level else ""
        drawing.box(x_head, y, mask, 92, 40, OUTPUT)
        drawing.arrow((x_input + 46, y), (x_body - 46, y))
        drawing.arrow((x_body + 46, y), (x_head - 46, y))
        if level < n_levels - 1:
            drawing.arrow((x_input, y + 20), (x_input, y + row - 20))
            drawing.arrow((x_body - 14, y + row - 20), (x_body - 14, y + 20))
            drawing.arrow((x_body + 34, y + row - 20), (x_body + 60, y + 4))
        if level == 0:
            drawing.note(x_input + 6, y + row / 2, "mean of\n2 × 2", ha="left")
            drawing.note(x_body - 20, y + row / 2, "skips", ha="right")
            drawing.note(x_body + 58, y + row / 2, "fusion", ha="left")
    caption = (
        "Each level has a loss; masks of coarse levels are interpolated.\n"
        "The finest is the one that is used."
    )
    drawing.text(_MIDDLE, row * n_levels + 22, caption, size=9)
    return drawing
