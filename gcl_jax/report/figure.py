"""t-SNE pictures of embeddings side by side (the paper's Figures 1 and 3)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gcl_jax.errors import UserError
from gcl_jax.replacing import replacing
from gcl_jax.report.embedding import Embedding, sample

# Okabe and Ito's colors and two more that keep apart under every kind of color blindness; shapes repeat the message.
COLORS = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#882255", "#999999",
)  # fmt: skip
MARKERS = "os^vDPX<>*"


def draw(embeddings: Sequence[tuple[str, Embedding]], file: Path, images: int = 2000, seed: int = 0) -> None:
    """Write a picture with one panel for each (label, embedding) of one data set; ``images`` of each are shown.

    Up to ten classes have a color and a shape each; more are colored by their training images, head to tail.
    Raises UserError where matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UserError("pictures need matplotlib: pip install 'gcl_jax[report]'") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from sklearn.manifold import TSNE

    figure, panels = plt.subplots(1, len(embeddings), figsize=(6 * len(embeddings), 6), squeeze=False)
    for panel, (label, embedding) in zip(panels[0], embeddings, strict=True):
        shown = sample(embedding.labels, images)
        perplexity = min(30.0, (len(shown) - 1) / 3)
        points = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(embedding.features[shown])
        _scatter(panel, points, embedding, embedding.labels[shown])
        panel.set(title=label, xticks=[], yticks=[])
    handles, names = panels[0][0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="lower center", ncols=5, frameon=False)
        figure.tight_layout(rect=(0, 0.08, 1, 1))
    elif np.ptp(embeddings[0][1].counts):  # of balanced classes all have one color
        place = {"ax": panels[0].tolist(), "location": "bottom", "shrink": 0.4, "pad": 0.03}
        figure.colorbar(panels[0][0].collections[0], label="training images of the class", **place)
    with replacing(file) as new:
        figure.savefig(new, dpi=150, format=file.suffix.lstrip(".") or "png")
    plt.close(figure)


def _scatter(panel, points, embedding, labels):
    classes = np.unique(labels)
    if len(classes) > len(COLORS):
        ends = {"vmin": embedding.counts.min(), "vmax": embedding.counts.max()}
        panel.scatter(*points.T, c=embedding.counts[labels], norm="log", **ends, cmap="cividis", s=6)
        return
    for place, j in enumerate(classes):
        of_class = points[labels == j]
        name = f"{embedding.class_names[j]} ({embedding.counts[j]})"
        panel.scatter(*of_class.T, c=COLORS[place], marker=MARKERS[place], s=10, linewidths=0, label=name)
