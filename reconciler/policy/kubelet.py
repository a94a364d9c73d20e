"""The policy's `kubelet` key: kubelet's configuration by its own names, where it can't be seen."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import yaml

from ..domain.kubelet_lines import AS_SHIPPED, HARD, SIGNALS, SOFT, KubeletConfig, Threshold
from .draft import Draft, parsed
from .nodes import Sheet, mapping
from .values import parse_duration, parse_gc_high, parse_threshold

HIGH, AGE = "imageGCHighThresholdPercent", "imageMaximumGCAge"
# Other eviction signals of kubelet, which have nothing to do with images.
OTHER_SIGNALS = (
    "memory.available",
    "allocatableMemory.available",
    "pid.available",
    "containerfs.available",
    "containerfs.inodesFree",
)


def kubelet(key: str, node: yaml.Node, draft: Draft, sheet: Sheet, today: dt.date) -> None:
    """Overrides whatever configuration is found; keys that are left out have kubelet's defaults."""
    found = mapping(node, sheet, (HIGH, AGE, HARD, SOFT), key)
    known = KubeletConfig()
    high, age = known.image_gc_high, known.maximum_image_age
    if HIGH in found:
        high = parsed(f"{key}.{HIGH}", found[HIGH], sheet, parse_gc_high) or high
    if AGE in found:
        age = parsed(f"{key}.{AGE}", found[AGE], sheet, parse_duration) or age
    thresholds: tuple[Threshold, ...] = () if HARD in found else AS_SHIPPED
    for setting in (HARD, SOFT):
        if setting in found:
            name = f"{key}.{setting}"
            thresholds += tuple(_thresholds(name, setting, found[setting], sheet))
    draft.values["kubelet"] = KubeletConfig(str(sheet.place(node)), high, age, thresholds)


def _thresholds(key: str, setting: str, node: yaml.Node, sheet: Sheet) -> Iterator[Threshold]:
    for signal, value in mapping(node, sheet, (*SIGNALS, *OTHER_SIGNALS), key).items():
        if signal in OTHER_SIGNALS:
            continue

        def parse(text: str, signal: str = signal) -> Threshold | None:
            return parse_threshold(setting, signal, text)

        threshold = parsed(f"{key}.{signal}", value, sheet, parse)
        if threshold is not None:
            yield threshold
