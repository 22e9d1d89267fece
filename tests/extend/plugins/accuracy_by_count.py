"""A figure: the accuracy of each class over its training images, one line a run.

python -m gcl_jax.report accuracy_by_count --plugins=accuracy_by_count --workdir=RUN
"""

import numpy as np

from gcl_jax import stored_logits, trained
from gcl_jax.report import REPORTS, Request


def accuracy_by_count(request: Request) -> None:
    """Accuracy of each class over its number of training images, from the stored logits of the test images."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    for label, folder in request.runs:
        _, seed_folder, stage = trained.locate(folder, request.stage)
        found = stored_logits.read(seed_folder / stage, "test")
        right = found.logits.argmax(1) == found.labels
        accuracy = [100 * right[found.labels == j].mean() for j in range(len(found.class_names))]
        order = np.argsort(found.class_counts)
        axes.plot(found.class_counts[order], np.take(accuracy, order), marker="o", label=label)
        print(f"{label}: {np.mean(accuracy):.2f} % balanced accuracy")
    axes.set(xscale="log", xlabel="training images of the class", ylabel="accuracy in %")
    axes.legend()
    figure.savefig(request.out / "accuracy_by_count.png")
    plt.close(figure)


REPORTS.register("accuracy_by_count", accuracy_by_count)
