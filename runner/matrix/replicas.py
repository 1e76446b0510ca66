"""What an app's further database aliases add to the connections that a cell should hold."""

from dataclasses import replace

from runner.matrix.cells import Cell, Prediction


def with_replicas(prediction: Prediction, cell: Cell) -> Prediction:
    """The prediction where the app reaches its database under several aliases: Django keeps a connection for each.

    Which of them a request uses is the app's business, so that the least stays what it was.
    """
    each = 1 + cell.replicas
    if each == 1:
        return prediction
    return replace(
        prediction,
        max=None if prediction.max is None else prediction.max * each,
        formula=f"({prediction.formula}) × {each} aliases of the app's DATABASES",
        opened_per_request=None,
        opened_max=None if prediction.opened_max is None else prediction.opened_max * each,
        lingering_max=None if prediction.lingering_max is None else prediction.lingering_max * each,
    )
