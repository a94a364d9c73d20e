"""What the log says of the lines at which kubelet acts, and of marks that stand above them."""

from __future__ import annotations

import structlog

from reconciler.domain.facts import KubeletReported
from reconciler.domain.kubelet_lines import KubeletConfig
from tests.builders import GIB, image, marks, policy
from tests.engine.test_reclaim import logged
from tests.engine.world import World


async def test_the_log_says_once_where_the_marks_are_and_who_acts_first() -> None:
    """A high mark above kubelet's own line is never reached, and nothing else would show it."""
    world = World(policy(watermarks=marks(90, 88)))
    world.runtime.have(image("app:v1", GIB))
    with structlog.testing.capture_logs() as log:
        config = KubeletConfig("/etc/kubernetes/kubelet.yaml")
        world.mailbox.put("kubelet", KubeletReported(world.clock(), config))
        await world.loop.turn(world.mailbox.drain())
        await world.turns(3)
    (read,) = logged(log, "kubelet-configuration")
    assert read["source"] == "/etc/kubernetes/kubelet.yaml"
    assert read["image_gc_high_percent"] == 85
    assert "evictionHard imagefs.available<15%" in read["thresholds"]
    (stand,) = logged(log, "watermarks")
    assert (stand["high_bytes"], stand["low_bytes"]) == (90 * GIB, 88 * GIB)
    assert "kubelet acts above 84.0% (imageGCHighThresholdPercent 85)" in stand["high"]
    (warning,) = logged(log, "kubelet-acts-first")
    assert "kubelet acts first there" in warning["detail"]


async def test_what_of_kubelets_configuration_can_not_be_read_is_logged() -> None:
    """Defaults are used then, and may be wrong here."""
    world = World(policy())
    with structlog.testing.capture_logs() as log:
        config = KubeletConfig("kubelet's defaults")
        lost = "/var/lib/kubelet/config.yaml: permission denied"
        world.mailbox.put("kubelet", KubeletReported(world.clock(), config, troubles=(lost,)))
        await world.turns(2)
    (unread,) = logged(log, "kubelet-configuration-unread")
    assert lost in str(unread)
