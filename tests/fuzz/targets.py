"""What is fuzzed: bytes in, and what must hold of the result. A target raises if it does
not; what the code under test may raise it takes as an answer."""

from __future__ import annotations

import contextlib
import datetime as dt
import pickle
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from reconciler.cri import translate
from reconciler.cri._pb import runtime_pb2 as pb
from reconciler.domain.exclusion import Exclusions
from reconciler.domain.inventory import Image
from reconciler.domain.legal import InvalidPattern
from reconciler.domain.neutral import neutralised
from reconciler.domain.pattern import Pattern, parse_pattern
from reconciler.domain.policy import Exclusion, Place, Policy
from reconciler.domain.reference import InvalidReference, parse_reference
from reconciler.policy.files import PolicyInvalid, Text, parse_text
from reconciler.policy.nodes import LONGEST, MOST, Problem
from tests.builders import T0

CORPUS = Path(__file__).parent / "corpus"
TODAY = dt.date(2027, 1, 24)
Target = Callable[[bytes], None]


def policy(data: bytes) -> None:
    """The policy's text: a policy that makes sense, or problems that point into the file."""
    try:
        answer = parse_text(Text("p", (("p", data),)), TODAY)
    except PolicyInvalid as invalid:
        _told(list(invalid.problems), data)
        return
    assert pickle.loads(pickle.dumps(answer)) == answer
    found, warnings = answer
    places = [rule.place for rule in found.exclusions] + [rule.place for rule in found.required]
    for place in places:
        _in_file(place, data)
    for warning in warnings:
        _in_file(warning.place, data)
    _makes_sense(found)


def _told(problems: list[Problem], data: bytes) -> None:
    assert 0 < len(problems) <= MOST + 1
    for problem in problems:
        _in_file(problem.place, data)
        assert len(problem.text) <= LONGEST + 3
        assert neutralised(str(problem)).isprintable()
    assert pickle.loads(pickle.dumps(problems)) == problems


def _in_file(place: Place, data: bytes) -> None:
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", data.decode("utf-8-sig", "replace"))
    assert 1 <= place.line <= len(lines) + 1, place
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    assert 1 <= place.column <= len(line) + 2, (place, line)


def _makes_sense(found: Policy) -> None:
    marks = found.watermarks
    for high, low in ((marks.high, marks.low), (marks.inodes_high, marks.inodes_low)):
        if low is not None:
            assert high is not None
            assert low.of(1 << 40) <= high.of(1 << 40)
            assert (low.percent is None) == (high.percent is None)
    spans = (found.minimum_age, found.maximum_unused_age, found.come_back_for)
    assert all(0 <= span < float("inf") for span in (*spans, found.system_keep_for))
    assert found.minimum_size >= 0
    for rule in found.exclusions:
        assert parse_pattern(rule.pattern.text) == rule.pattern


def pattern(data: bytes) -> None:
    """A pattern and, on the next line, the name of an image."""
    text, _, name = data.decode("utf-8", "surrogateescape").partition("\n")
    _reference(name)
    try:
        parsed = parse_pattern(text)
    except InvalidPattern as invalid:
        _points_into(text, invalid.offset)
        return
    image = Image(f"sha256:{'0' * 64}", (name,), (), 1, False)
    plain = parsed.match(image)
    rule = Exclusion(parsed, Place("p", 1, 1))
    indexed = Exclusions([rule]).protecting(image, T0)
    assert (indexed and indexed[1]) == plain
    _matches_itself(parsed, text)


def _points_into(text: str, offset: int) -> None:
    assert 0 <= offset <= len(text)


def _reference(name: str) -> None:
    try:
        reference = parse_reference(name)
    except InvalidReference:
        return
    whole = reference.repository
    whole += f":{reference.tag}" if reference.tag is not None else ""
    whole += f"@{reference.digest}" if reference.digest is not None else ""
    assert parse_reference(whole) == reference


def _matches_itself(parsed: Pattern, text: str) -> None:
    """A pattern without stars is a name or an id, and matches it."""
    if "*" not in text and parsed.scopes:
        with contextlib.suppress(InvalidReference):
            name = parse_reference(text)
            legal = name.repository == name.repository.lower()  # else it is read as a host
            assert parsed.matches_name(name) or not legal


def verbose(data: bytes) -> None:
    """What runtimes put into verbose answers as text, and the version they call themselves."""
    text = data.decode("utf-8", "surrogateescape")
    names = translate.pause_names(text)
    assert all(names)
    assert len(set(names)) == len(names)
    assert not (names and translate.is_pauseless(text))
    configured = translate.configured_pause(text)
    assert configured != ""
    with contextlib.suppress(UnicodeEncodeError):  # protobuf's own check
        version = translate.version(pb.VersionResponse(runtime_version=text))
        assert all(number >= 0 for number in version.numbers)
        mount = pb.Mount(host_path=text, image=pb.ImageSpec(image=text))
        translate.volumes(pb.ContainerStatus(mounts=[mount]))


TARGETS: dict[str, Target] = {"policy": policy, "pattern": pattern, "verbose": verbose}

HEAD = b"apiVersion: reconciler/v1\nkind: ImagePolicy\n"
BODIES = (
    "mode: enforce\nwatermarks: {high: 90%, low: 80.5%, inodes: {high: 9%, low: 8%}}\n",
    "watermarks:\n  high: 40Gi\n  low: 38G\nminimumAge: 1h30m\nminimumSize: 10M\n",
    "exclusions:\n- images: ['a/**', \"b:1.*\"]\n  reason: |\n    why\n  until: 2027-01-31\n",
    "system: {enabled: false, keepFor: 1d}\nrequiredImages:\n  - quay.io/a/b@sha256:00\n",
    "importance:\n- {tier: high, images: ['reg.example/**/a', b]}\n",
    "expendable:\n- images: [reg.example/ci/**]\n  unusedFor: 1h\n",
)
SEEDS: dict[str, list[bytes]] = {
    "policy": [HEAD, *(HEAD + body.encode() for body in BODIES)],
    "pattern": [
        b"reg.example/a/**/b:v1.*\nreg.example/a/x/b:v1.2",
        b"nginx\nnginx:1.27@sha256:" + b"a" * 64,
        b"sha256:6e8336ec32bd\nlocalhost:5000/x",
        b"**/*@sha512:" + b"0" * 128 + b"\n[::1]:5000/a",
    ],
    "verbose": [
        b'{"image": "pause:3.10", "runtimeSpec": {"annotations": '
        b'{"io.kubernetes.cri-o.ImageName": "p"}}}',
        b'{"sandboxImage": "pause"}',
        b"v1.7.24-k3s1",
        b"/var/lib/x/sha256:" + b"0" * 64,
    ],
}
TOKENS = [
    *rb"[ ] { } : , - # ' | > % @ / ** * ? ~ 1 0 9e999 80% 5Gi 2m NaN null &a *a <<".split(),
    *b"mode watermarks exclusions images reason until image sandboxImage runtimeSpec".split(),
    *(b"importance", b"tier", b"high", b"expendable", b"unusedFor", b"sha256:", rb"\u0041"),
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85"),
    *(b"\n", b"\r", b"\t", b" ", b"\n  ", b": ", b"- ", b'"', b"\xc3\xa9", b"...", b"---", b"!!s"),
    *(b"1" * 5000, b"[" * 40, b'{"a":' * 1100, b"a/" * 300, b"a*" * 300, b"**/" * 30),
]


def inputs(name: str, seed: int) -> Iterator[bytes]:
    """Without end, from noise to nearly right; the same ones for the same seed."""
    rng = random.Random(seed)
    seeds = SEEDS[name] + [file.read_bytes() for file in corpus(name)]
    while True:
        yield rng.randbytes(rng.randint(0, 64)) if rng.random() < 0.02 else _mutated(rng, seeds)


def _mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """A seed with pieces cut out, put in, and parts of another seed."""
    data = rng.choice(seeds)
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5, 12))):
        at = rng.randint(0, len(data))
        end = at + rng.choice((0, 0, 1, 2, 8, 40))
        other = rng.choice(seeds)
        start = rng.randint(0, len(other))
        pieces = (rng.choice(TOKENS), rng.randbytes(rng.randint(0, 4)), other[start : start + 40])
        data = data[:at] + rng.choices(pieces, (8, 1, 1))[0] + data[end:]
    return data


def corpus(name: str) -> list[Path]:
    """Inputs that found something once, each a file."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.name != ".gitkeep")
