"""What a pooler makes of the connections that the app would open: the prediction of both of its sides."""

from dataclasses import replace

from runner.matrix.cells import Prediction
from runner.stacks.poolers import PoolerSpec


def behind_pooler(direct: Prediction, pooler: PoolerSpec, idle: float) -> Prediction:
    """The pooler's connections to the database, with the app's to the pooler in `clients`.

    `direct` is what the app would open to a database that lets in all; `idle` the seconds after which it is counted
    what lingers. A pooler opens a connection for a client that wants one while none is free, and keeps it.
    """
    clients = _let_in(direct, pooler)
    limit = pooler.server_limit
    # For a session that has ended the connection is cleaned first, and the next client may get another. A client
    # that is served holds one at most, and asks for one at most as often as it connects.
    wanted = clients.opened_max if pooler.keeps_sessions else clients.max
    most = limit if wanted is None else min(limit, wanted)
    dropped = pooler.splits_transactions
    lasting = not dropped and pooler.keeps_servers_for > idle
    least = min(clients.min, limit) if pooler.keeps_sessions else 1
    return Prediction(
        min=least,
        max=most,
        formula=_formula(clients, pooler, most),
        opened_per_request=None,
        opened_max=most if lasting else None,
        lingering_min=least if lasting and clients.lingering_min else min(1, least) if lasting else 0,
        lingering_max=most,
        broken=clients.broken,
        clients=clients,
    )


def _let_in(direct: Prediction, pooler: PoolerSpec) -> Prediction:
    limit = pooler.client_limit
    if direct.max is not None and direct.max <= limit:
        return direct
    return replace(
        direct,
        min=min(direct.min, limit),
        max=limit,
        formula=f"{direct.formula}; the pooler lets in {limit} clients and refuses the rest",
        lingering_min=0,
        lingering_max=None if direct.lingering_max is None else min(direct.lingering_max, limit),
        refusals=True,
    )


def _formula(clients: Prediction, pooler: PoolerSpec, most: int) -> str:
    words = f"{pooler.title}: {most} for {clients.max} clients"
    if pooler.splits_transactions:
        words += "; a transaction of several statements fails, and its connection is dropped"
    elif pooler.keeps_sessions and clients.opened_per_request is None and (clients.max or 0) > pooler.server_limit:
        words += f"; the others wait until one leaves, at most {pooler.waits_at_most:g} s, and fail then"
    return f"{words} ({clients.formula})"
