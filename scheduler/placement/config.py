"""How a placement weighs things, and how long it believes what an engine said."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlacementConfig:
    """``tolerance``: gains closer than so many kept promises count as equal, plans being
    estimates, and then the least wait decides. ``done_worth`` as in
    :class:`scheduler.slots.config.SlotConfig`. ``crowding``: what slower steps cost those who are
    there counts so many times, since those there are half done, and others will come in their
    place.

    ``stale_s``: a digest older than this says nothing any more. ``transit_s``: a request placed
    less than this before a digest was made may not be in it yet.
    """

    tolerance: float = 0.1
    done_worth: float = 0.3
    crowding: float = 3.0
    stale_s: float = 3.0
    transit_s: float = 0.2
