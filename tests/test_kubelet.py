"""What kubelet is told is read as kubelet reads it: else our marks stand where it acts."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.domain.kubelet_lines import AS_SHIPPED, KubeletConfig
from reconciler.host import kubelet
from reconciler.host.kubelet import Places, config_of, nodefs, read
from reconciler.host.yaml_text import MAX_DEPTH

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


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that others may look into, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="kubelet-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@contextlib.contextmanager
def somebody_else() -> Iterator[None]:
    """Without root's rights, for whom no permission is denied."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(
    "data",
    [
        *(b"a: [", b"\xff\xfe", b"\x00", b"- a list"),
        pytest.param(b"[" * 5_000 + b"]" * 5_000, id="nested lists"),
        pytest.param(b"a: " + b"{a: " * 5_000 + b"}" * 5_000, id="nested keys"),
        b"a: &a {b: *a}",
        b"a: &a {b: c}\nb: {<<: *a}",
        b"? [a]\n: b",
    ],
)
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


@pytest.mark.parametrize("value", ["2024-13-45", "0b_", "!!int abc", "!!timestamp abc", "!!bool a"])
def test_a_value_that_yaml_cannot_make_sense_of_leaves_the_others_in_force(
    tmp_path: Path, value: str
) -> None:
    """A month 13 ended the daemon with a traceback: such a text is no date, and says nothing of the
    keys beside it."""
    path = tmp_path / "config.yaml"
    path.write_text(
        f"imageMaximumGCAge: {value}\nother: {value}\nimageGCHighThresholdPercent: 70\n"
    )
    config, (trouble,) = read(Places(path))
    assert config.image_gc_high == 70
    assert "imageMaximumGCAge" in trouble


def test_a_file_as_deep_as_allowed_is_read(tmp_path: Path) -> None:
    """kubelet's own go three levels deep."""
    path = tmp_path / "config.yaml"
    deep = "{a: " * (MAX_DEPTH - 1) + "1" + "}" * (MAX_DEPTH - 1)
    path.write_text(f"imageGCHighThresholdPercent: 70\nother: {deep}\n")
    config, troubles = read(Places(path))
    assert (config.image_gc_high, troubles) == (70, ())


def test_a_value_that_is_named_once_and_used_twice_is_read(tmp_path: Path) -> None:
    """An alias of a single value costs nothing, and kubelet reads it too."""
    path = tmp_path / "config.yaml"
    path.write_text("a: &high 70\nimageGCHighThresholdPercent: *high\n")
    config, troubles = read(Places(path))
    assert (config.image_gc_high, troubles) == (70, ())


def test_a_closed_directory_at_kubelets_places_is_told_and_ends_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon and `plan` ended where /var/lib/kubelet was closed to their user; what they may
    read elsewhere counts."""
    closed, other = home / "closed", home / "config.json"
    closed.mkdir()
    other.write_text("imageGCHighThresholdPercent: 70\n")
    monkeypatch.setattr(kubelet, "FILES", (closed / "config.yaml", other))
    monkeypatch.setattr(kubelet, "DROPINS", (closed / "conf.d", closed, home / "none"))
    closed.chmod(0)
    with somebody_else():
        config, troubles = read(Places())
    assert (config.image_gc_high, config.source) == (70, str(other))
    why = "can't be read (Permission denied); what it says is unknown"
    assert troubles == tuple(
        f"{path} {why}" for path in (closed / "config.yaml", closed / "conf.d", closed)
    )


def test_a_closed_folder_of_dropins_is_told_and_not_passed_over(home: Path) -> None:
    """A line in it may be lower than all that is read; who may not look cannot know."""
    path, directory = home / "config.yaml", home / "conf.d"
    path.write_text("imageGCHighThresholdPercent: 80\n")
    (directory / "closed").mkdir(parents=True)
    (directory / "20.conf").write_text("imageGCHighThresholdPercent: 70\n")
    (directory / "closed").chmod(0)
    with somebody_else():
        config, troubles = read(Places(path, directory))
    assert config.image_gc_high == 70
    assert troubles == (
        f"{directory}/closed can't be read (Permission denied); what it says is unknown",
    )


@pytest.mark.timeout(30)
def test_a_fifo_for_kubelets_file_is_told_and_does_not_hang_the_daemon(tmp_path: Path) -> None:
    """Nobody ever writes to it: the reading thread waited for ever, and no signal ended it."""
    path = tmp_path / "config.yaml"
    os.mkfifo(path)
    config, (trouble,) = read(Places(path))
    assert config == KubeletConfig()
    assert trouble == (
        f"{path} can't be read (expected a regular file, found a FIFO); what it says is unknown"
    )


def test_a_kubelet_file_of_a_size_that_none_has_is_not_read_into_memory(tmp_path: Path) -> None:
    """A terabyte of nothing costs nothing."""
    path = tmp_path / "config.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    config, (trouble,) = read(Places(path))
    assert config == KubeletConfig()
    assert "larger than 1 MiB" in trouble
