"""What runtimes do differently, as settings; all measured on real ones (docs/runtimes.md)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace


class Events(enum.Enum):
    """How GetContainerEvents answers."""

    NONE = "unimplemented"  # containerd 1.6
    SHARED = "each event to one of the subscribers"  # containerd 1.7
    BROADCAST = "all to all, and what nobody received for 5 minutes to the next"  # containerd 2.x
    PLAIN = "all to all"  # CRI-O with enable_pod_events
    OFF = "a clean end at once"  # CRI-O's default


@dataclass(frozen=True, slots=True)
class Habits:
    """One runtime's behaviour. `crio`: CRI-O's forms of ids, references, refusals and untagging."""

    name: str
    version: str
    events: Events
    crio: bool = False
    pins_pause: bool = True
    reports_image_id: bool = False  # Container.image_id is filled
    reports_configured_pause: bool = False  # Status(verbose) names the sandbox image
    image_volumes: bool = False
    streams: bool = False  # StreamImages and its like
    annotates_pause: bool = False  # a sandbox's verbose status names the configured pause image too
    pauseless: bool = False  # the status of a sandbox says that it runs on no image (a VM's)
    reports_pod_before_removal: bool = False  # a pod's DELETED is sent while it is still listed
    pod_exists: str = "UNKNOWN"  # containerd's code when a pod is created again

    def id_text(self, hex_id: str) -> str:
        """An image id as this runtime lists it."""
        return hex_id if self.crio else f"sha256:{hex_id}"


CONTAINERD_1_6 = Habits(
    "containerd",
    "1.6.20~ds1",
    Events.NONE,
    pins_pause=False,
    reports_configured_pause=True,
)
CONTAINERD_1_7 = Habits("containerd", "1.7.24~ds1", Events.SHARED, reports_configured_pause=True)
CONTAINERD_2 = Habits(
    "containerd",
    "2.1.9+unknown",
    Events.BROADCAST,
    image_volumes=True,
    annotates_pause=True,
    reports_pod_before_removal=True,
    pod_exists="FAILED_PRECONDITION",
)
CONTAINERD_2_4 = replace(CONTAINERD_2, version="2.4.0", reports_image_id=True, streams=True)
CRIO = Habits(
    "cri-o",
    "1.37.0",
    Events.PLAIN,
    crio=True,
    reports_image_id=True,
    reports_configured_pause=True,
    image_volumes=True,
    streams=True,
)
CRIO_EVENTS_OFF = replace(CRIO, events=Events.OFF)
CRIO_1_29 = replace(
    CRIO_EVENTS_OFF, version="1.29.0", reports_image_id=False, image_volumes=False, streams=False
)

ALL = {
    "containerd-1.6": CONTAINERD_1_6,
    "containerd-1.7": CONTAINERD_1_7,
    "containerd-2": CONTAINERD_2,
    "containerd-2.4": CONTAINERD_2_4,
    "cri-o": CRIO,
    "cri-o-events-off": CRIO_EVENTS_OFF,
    "cri-o-1.29": CRIO_1_29,
}
