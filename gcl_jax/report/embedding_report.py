"""The report of embeddings: a picture, and its numbers in a file and as a table."""

from gcl_jax import aligned, json_files
from gcl_jax.report.base import Request


def embedding(request: Request) -> None:
    """t-SNE of the test features, one panel a run, with the silhouette and the distances of head and tail classes."""
    from gcl_jax.report import embedding, figure  # the heavy half

    embeddings = [(label, embedding.read(folder, request.stage)) for label, folder in request.runs]
    embedding.require_one_data_set(embeddings)
    numbers = {label: embedding.describe(row) for label, row in embeddings}
    json_files.write(request.out / "embedding.json", numbers)
    for label, row in numbers.items():
        print(f"{label}: {row['stage']} of {row['folder']}, step {row['step']}")
    print(table(numbers))
    figure.draw(embeddings, request.out / "embedding.png", request.images)
    print(f"written: {request.out / 'embedding.json'}, {request.out / 'embedding.png'}")


def table(numbers: dict) -> str:
    """The numbers for people: one row a run."""
    measures = [(half, what) for what in ("between", "nearest", "spread") for half in ("head", "tail")]
    rows = [("run", "silhouette", *(f"{half} {what}" for half, what in measures))]
    for label, row in numbers.items():
        values = [row["silhouette"], *(row[half][what] for half, what in measures)]
        rows.append((label, *(aligned.number(value, 3) for value in values)))
    message = "distances of unit features: between class means, to the nearest other mean, of images to their mean"
    return "\n".join([*aligned.table(rows), message])
