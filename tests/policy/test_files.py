"""Reading a file or a directory: what is there, what is refused, and what never blocks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.policy import PolicyInvalid, PolicyUnsettled, absent, load_policy
from reconciler.policy.files import Text, parse_text, read_text
from reconciler.policy.in_subprocess import LARGE, load_policy_in_subprocess
from reconciler.regular_file import LARGEST
from tests.policy.texts import HEAD

RULE = "- images: [reg.example.com/t/app{}]\n"


@contextlib.contextmanager
def somebody_else() -> Iterator[None]:
    """Without root's rights, for whom no permission is denied."""
    uid = os.geteuid()
    if uid == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(uid)


def written(path: Path, body: str = "") -> Path:
    path.write_text(HEAD + body)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(PolicyInvalid) as caught:
        load_policy(path)
    return "\n".join(map(str, caught.value.problems))


def test_a_directory_is_read_by_name(tmp_path: Path) -> None:
    """Its policy files in the order of their names, with either of YAML's endings; ConfigMap's own
    and what editors leave are none, and anything else that is left out is reported."""
    written(tmp_path / "20-b.yaml", "exclusions: [{images: [b]}]")
    written(tmp_path / "10-a.yml", "exclusions: [{images: [a]}]")
    written(tmp_path / "policy", "exclusions: [{images: [c]}]")
    (tmp_path / ".hidden.yaml").write_text("no policy")
    (tmp_path / "readme.txt").write_text("no policy")
    (tmp_path / "old.yaml~").write_text("no policy")
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "..data").mkdir()
    (tmp_path / ".policy.yaml.swp").write_text("no policy")
    policy, warnings = parse_text(read_text(tmp_path))
    assert [str(rule.pattern) for rule in policy.exclusions] == ["a", "b", "c"]
    assert policy.source == str(tmp_path)
    expected = "expected a name that ends in .yaml or .yml, or has no ending"
    assert [str(one) for one in warnings] == [
        f"{tmp_path}/.hidden.yaml:1:1: is not read: its name begins with a dot",
        f"{tmp_path}/lost+found:1:1: is not read: a directory in a directory of policies",
        f"{tmp_path}/old.yaml~:1:1: is not read: {expected}",
        f"{tmp_path}/readme.txt:1:1: is not read: {expected}",
    ]


def test_a_file_mounted_singly_and_replaced_on_the_host_is_stale(tmp_path: Path) -> None:
    """A bind mount keeps the old file for ever, in a mount namespace of its own."""
    here, mounted = written(tmp_path / "policy.yaml"), tmp_path / "mounted.yaml"
    mounted.touch()
    script = (
        'set -e; mount --bind "$1" "$2"; cp "$1" "$1.new"; "$0" -m reconciler check "$2"; '
        'mv "$1.new" "$1"; "$0" -m reconciler check "$2"'
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, sys.executable, str(here), str(mounted)],
        capture_output=True,
        text=True,
        env=os.environ | {"CONTAINER_RUNTIME_ENDPOINT": str(tmp_path / "none.sock")},
    )
    valid, stale = done.stdout.splitlines()
    assert valid.startswith(f"{mounted}: valid"), done.stderr
    assert stale.startswith(f"{mounted}:1:1: cannot be read: stale: ")
    assert "mount its directory instead" in stale
    assert done.returncode == 1


def test_a_directory_without_a_policy_is_refused(tmp_path: Path) -> None:
    """An empty mount is a fault and not the defaults."""
    assert refusal(tmp_path) == (
        f"{tmp_path}:1:1: no *.yaml in this directory; expected at least one policy file"
    )


def test_one_unreadable_file_refuses_the_directory(tmp_path: Path) -> None:
    """A rule that cannot be read may be the one that protects; the faults of the others are
    reported as well."""
    written(tmp_path / "a.yaml", "mode: x")
    (tmp_path / "b.yaml").symlink_to(tmp_path / "gone")
    (tmp_path / "c.yaml").mkdir()
    assert refusal(tmp_path).splitlines() == [
        f"{tmp_path}/b.yaml:1:1: cannot be read: No such file or directory",
        f"{tmp_path}/c.yaml:1:1: cannot be read: expected a regular file, found a directory",
        f"{tmp_path}/a.yaml:3:7: mode: expected observe or enforce, found 'x'",
    ]


def test_a_fifo_is_refused_and_does_not_block(tmp_path: Path) -> None:
    """Nobody ever writes to it."""
    os.mkfifo(tmp_path / "policy.yaml")
    assert refusal(tmp_path / "policy.yaml").endswith("expected a regular file, found a FIFO")
    assert "found a FIFO" in refusal(tmp_path)


def test_a_device_is_refused_and_not_opened(tmp_path: Path) -> None:
    """/dev/zero never ends."""
    (tmp_path / "policy.yaml").symlink_to("/dev/zero")
    assert refusal(tmp_path / "policy.yaml").endswith("expected a regular file, found a device")


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    """The error says what it is."""
    (tmp_path / "policy.yaml").symlink_to(tmp_path / "policy.yaml")
    assert "Too many levels of symbolic links" in refusal(tmp_path / "policy.yaml")


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    """It may hold the rule that protects, so it is neither skipped nor taken for absent."""
    file = written(tmp_path / "policy.yaml")
    tmp_path.chmod(0)
    with somebody_else():
        assert refusal(file).endswith("cannot be read: Permission denied")
        assert not absent(file)
    tmp_path.chmod(0o700)


def test_only_what_is_certainly_not_there_is_absent(tmp_path: Path) -> None:
    """Absent means the built-in defaults: a link that leads nowhere is not that."""
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert absent(tmp_path / "nothing")
    assert not absent(tmp_path / "link")
    assert not absent(written(tmp_path / "file") / "below")


def test_too_large_a_file_is_refused_unread(tmp_path: Path) -> None:
    """A terabyte of nothing is refused at once."""
    file = written(tmp_path / "policy.yaml")
    os.truncate(file, 1 << 40)
    assert refusal(file).endswith(
        "cannot be read: larger than 1 MiB (1099511627776 bytes), not read"
    )


def test_a_directory_of_many_large_files_is_refused(tmp_path: Path) -> None:
    """No number of files makes the daemon read without end."""
    for number in range(17):
        (tmp_path / f"{number:02}.yaml").write_bytes(b"#" * LARGEST)
    assert refusal(tmp_path).endswith("together larger than 16 MiB, not read on")


def test_a_file_of_a_mebibyte_is_read(tmp_path: Path) -> None:
    """The limit itself is allowed."""
    file = written(tmp_path / "policy.yaml")
    with file.open("ab") as end:
        end.write(b"#" * (LARGEST - file.stat().st_size))
    assert load_policy(file).source == str(file)


def test_a_file_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    """Half a list of exclusions can be a valid policy that protects less."""
    file = tmp_path / "policy.yaml"
    with file.open("w") as half:
        half.write(HEAD + "exclusions: [{images: [a]}]\n")
        half.flush()
        with pytest.raises(PolicyUnsettled, match="is open for writing elsewhere"):
            read_text(file)
        with pytest.raises(PolicyUnsettled):
            read_text(tmp_path)
    assert len(load_policy(file).exclusions) == 1


def test_a_writer_that_comes_while_it_is_read_does_no_harm(tmp_path: Path) -> None:
    """The lease that is held for a moment is broken with a signal: it must not end us."""
    file = written(tmp_path / "policy.yaml")
    writer = "import sys\nwhile True: open(sys.argv[1], 'r+').close()"
    with subprocess.Popen([sys.executable, "-c", writer, str(file)]) as busy:
        read = 0
        for _ in range(20_000):
            with contextlib.suppress(PolicyUnsettled):
                read += bool(read_text(file))
        busy.kill()
    assert read > 0


def big(rules: int) -> Text:
    body = HEAD + "exclusions:\n" + "".join(RULE.format(number) for number in range(rules))
    return Text("policy.yaml", (("policy.yaml", body.encode()),))


@pytest.mark.usefixtures("unmeasured")
async def test_a_big_policy_does_not_stop_the_loop() -> None:
    """20,000 rules take a while, in another process, while the event loop runs."""
    text = big(20_000)
    assert LARGE < text.size <= LARGEST
    parsing = asyncio.ensure_future(load_policy_in_subprocess(text))
    turns = 0
    while not parsing.done():
        turns += 1
        await asyncio.sleep(0.001)
    policy, warnings = parsing.result()
    assert turns > 100
    assert len(policy.exclusions) == 20_000
    assert warnings == ()
    assert (policy.exclusions[-1].pattern.text, policy.exclusions[-1].place.line) == (
        "reg.example.com/t/app19999",
        20_003,
    )


@pytest.mark.usefixtures("unmeasured")
async def test_in_a_child_process_or_not_the_answer_is_the_same() -> None:
    """A big policy's problems and places are those of a small one."""
    text = big(1000)
    assert (await load_policy_in_subprocess(text))[0] == parse_text(text)[0]
    bad = Text("p", (("p", text.files[0][1] + b"mode: x\n"),))
    with pytest.raises(PolicyInvalid) as here:
        parse_text(bad)
    with pytest.raises(PolicyInvalid) as in_child:
        await load_policy_in_subprocess(bad)
    assert in_child.value.problems == here.value.problems


@pytest.mark.usefixtures("unmeasured")
async def test_a_parse_that_is_cancelled_leaves_no_process_behind() -> None:
    """The daemon ends at once, and its child with it."""
    parsing = asyncio.ensure_future(load_policy_in_subprocess(big(20_000)))
    for _ in range(100_000):
        await asyncio.sleep(0)
        if children := _children():
            break
    parsing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await parsing
    assert not _children() & children


def _children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
