"""What kubelet is told is read as kubelet reads it: else our marks stand where it acts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.domain.kubelet_lines import AS_SHIPPED, KubeletConfig
from reconciler.host import kubelet
from reconciler.host.kubelet import Places, config_of, nodefs, read

HARD = tuple(map(str, AS_SHIPPED))


def told(config: KubeletConfig) -> tuple[int, list[str]]:
    return config.image_gc_high, sorted(map(str, config.thresholds))


@pytest.mark.parametrize(
    ("text", "high", "thresholds"),
    [
        ("", 85, HARD),
        ("imageGCHighThresholdPercent: 70", 70, HARD),
        ("imageGCHighThresholdPercent: '70'", 70, HARD),
        ("evictionHard: {imagefs.available: 25%}", 85, ("evictionHard imagefs.available<25%",)),
        (
            "evictionHard: {imagefs.available: 10Gi}",
            85,
            ("evictionHard imagefs.available<10737418240",),
        ),
        ("evictionHard: {memory.available: 100Mi}", 85, ()),
        ("evictionHard: {imagefs.available: 0%}", 85, ()),
        ("evictionHard: {imagefs.available: 100%, nodefs.available: 0%}", 85, ()),
        (
            "mergeDefaultEvictionSettings: true\nevictionHard: {imagefs.available: 30%}",
            85,
            ("evictionHard imagefs.available<30%", *HARD[1:]),
        ),
        (
            "evictionSoft: {nodefs.available: 25%, imagefs.inodesFree: 20%}",
            85,
            (
                *HARD,
                "evictionSoft imagefs.inodesFree<20%",
                "evictionSoft nodefs.available<25%",
            ),
        ),
        ("imageGCHighThresholdPercent: 70\n---\n", 70, HARD),
        ("imageGCHighThresholdPercent: 70\n---\nimageGCHighThresholdPercent: 60\n", 70, HARD),
        ('{"kind": "KubeletConfiguration", "imageGCHighThresholdPercent": 60}', 60, HARD),
    ],
)
def test_kubelets_file_is_read_as_kubelet_reads_it(
    tmp_path: Path, text: str, high: int, thresholds: tuple[str, ...]
) -> None:
    """With its own defaults for what is not given, its first document alone, JSON too."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    config, troubles = read(Places(path))
    assert told(config) == (high, sorted(thresholds))
    assert config.source == str(path)
    assert troubles == ()


def test_dropins_go_over_the_file_in_the_order_of_their_names(tmp_path: Path) -> None:
    """A line that a drop-in lowers is silent in the file itself."""
    path, directory = tmp_path / "config.yaml", tmp_path / "conf.d"
    path.write_text("imageGCHighThresholdPercent: 80\nevictionHard: {imagefs.available: 10%}\n")
    (directory / "sub").mkdir(parents=True)
    (directory / "20-late.conf").write_text("imageGCHighThresholdPercent: 60\n")
    (directory / "10-early.conf").write_text(
        json.dumps({"imageGCHighThresholdPercent": 70, "evictionHard": {"nodefs.available": "25%"}})
    )
    (directory / "sub" / "30.conf").write_text("evictionSoft: {imagefs.available: 30%}\n---\n")
    (directory / "99-not.yaml").write_text("imageGCHighThresholdPercent: 10\n")
    config, troubles = read(Places(path, directory))
    assert troubles == ()
    assert told(config) == (
        60,
        [
            "evictionHard imagefs.available<10%",
            "evictionHard nodefs.available<25%",
            "evictionSoft imagefs.available<30%",
        ],
    )
    assert config.source == f"{path}, 10-early.conf, 20-late.conf, 30.conf"


def test_a_dropin_takes_back_what_the_file_says(tmp_path: Path) -> None:
    """null deletes, in a merge patch."""
    path, directory = tmp_path / "config.yaml", tmp_path / "conf.d"
    path.write_text("evictionHard: {imagefs.available: 50%}\n")
    directory.mkdir()
    (directory / "1.conf").write_text("evictionHard: null\n")
    assert told(read(Places(path, directory))[0]) == (85, sorted(HARD))


@pytest.mark.parametrize("data", [b"a: [", b"\xff\xfe", b"\x00", b"- a list"])
def test_a_broken_kubelet_file_is_told_and_its_defaults_assumed(
    tmp_path: Path, data: bytes
) -> None:
    """It is not ours to mend, and no reason to stop."""
    path = tmp_path / "config.yaml"
    path.write_bytes(data)
    config, (trouble,) = read(Places(path))
    assert config == KubeletConfig()
    assert trouble.startswith(str(path))
    assert trouble.endswith("; what it says is unknown")
    assert "\n" not in trouble


def test_no_file_at_all_is_kubelets_defaults_without_a_word(tmp_path: Path) -> None:
    """Most daemons in a pod see none."""
    assert read(Places(tmp_path / "none")) == (KubeletConfig(), ())


def test_what_kubelet_would_refuse_is_told_and_its_default_stands() -> None:
    """A value that is none must not put a mark anywhere."""
    config, wrong = config_of(
        {
            "imageGCHighThresholdPercent": True,
            "imageMaximumGCAge": "soon",
            "evictionHard": {"imagefs.available": "15 percent", "nodefs.available": "20%"},
            "evictionSoft": ["imagefs.available"],
        },
        "kubelet's /configz",
    )
    assert told(config) == (85, ["evictionHard nodefs.available<20%"])
    assert config.maximum_image_age == 0
    assert [one.split(": ")[1] for one in wrong] == [
        "imageGCHighThresholdPercent",
        "imageMaximumGCAge",
        "evictionHard imagefs.available",
        "evictionSoft",
    ]


def test_a_kubeconfig_at_a_place_where_some_keep_kubelets_file_says_nothing(
    tmp_path: Path,
) -> None:
    """kubeadm has one where OpenShift keeps kubelet's configuration."""
    path = tmp_path / "kubelet.conf"
    path.write_text("apiVersion: v1\nkind: Config\nclusters: []\n")
    config, troubles = read(Places(path))
    assert (config, troubles) == (KubeletConfig(), ())


def test_kubelets_filesystem_is_that_of_the_first_place_that_is_seen(tmp_path: Path) -> None:
    """None where none is: then each filesystem may be it."""
    found = nodefs((tmp_path / "not there", tmp_path))
    assert found is not None
    assert found.device == tmp_path.stat().st_dev
    assert found.capacity > 0
    assert nodefs((tmp_path / "not there",)) is None


def test_of_two_distributions_files_the_first_alone_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that an earlier installation left behind went over it, as if it were a drop-in."""
    first, left_behind = tmp_path / "config.yaml", tmp_path / "config.json"
    first.write_text("imageGCHighThresholdPercent: 70\n")
    left_behind.write_text("imageGCHighThresholdPercent: 95\n")
    monkeypatch.setattr(kubelet, "FILES", (tmp_path / "none", first, left_behind))
    monkeypatch.setattr(kubelet, "DROPINS", ())
    config, troubles = read(Places())
    assert (config.image_gc_high, config.source, troubles) == (70, str(first), ())
