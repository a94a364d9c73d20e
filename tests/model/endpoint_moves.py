"""Images asked for at another socket than containers: one of the two is away, or slow, alone."""

from __future__ import annotations

from .pod_moves import Dice
from .service import IMAGES, RUNTIME
from .stream import rpc_error
from .world import World

LAGS = (0.0, 0.0, 0.02, 0.3, 2.0)  # seconds


def with_endpoints(world: World, dice: Dice) -> None:
    """One socket for everything, or one for each service."""
    if dice.number(0, 2) == 0:
        world.service.image_socket = IMAGES
        world.note("images are asked for at a socket of their own")


def endpoint_goes(world: World, dice: Dice) -> None:
    """One of two sockets goes away, for a moment or longer; answers from the other stay right."""
    service = world.service
    if service.image_socket == RUNTIME:
        return
    socket = dice.pick((RUNTIME, IMAGES))
    service.away.add(socket)
    if socket == RUNTIME:
        service.streams.end_all(rpc_error("UNAVAILABLE", "Stream removed (Socket closed)"))
    world.note("away:", socket)
    world.advance(dice.pick((0.05, 0.5, 1.0, 12.0)))
    service.away.discard(socket)


def endpoint_lags(world: World, dice: Dice) -> None:
    """One of two sockets is slow: the lists are of different moments."""
    if world.service.image_socket != RUNTIME:
        socket, lag = dice.pick((RUNTIME, IMAGES)), dice.pick(LAGS)
        world.service.lags[socket] = lag
        world.note(f"every answer of {socket} takes", lag)
