"""Every key of the operator's contract, and what is refused, each at its line and column."""

from __future__ import annotations

import datetime as dt

import pytest

from reconciler.domain.policy import Mark, Mode, Policy, Watermarks
from tests.policy.texts import HEAD, parsed, problems, with_warnings

WHOLE = """\
mode: enforce
watermarks:
  high: 40Gi
  low: 38Gi
  inodes: {high: 90%, low: 88.5%}
minimumAge: 1h30m
maximumUnusedAge: 30d
minimumSize: 0
comeBackFor: 0s
protectUnpullable: false
system: {enabled: false, keepFor: 24h}
exclusions:
  - images: ["registry.example.com/base/**", "nginx:1.*", "sha256:6e8336ec32bd"]
    reason: cold start budget
    until: 2027-06-30
  - images:
      - quay.io/team/app
requiredImages: ["registry.example.com/agent:v2"]
"""


def test_every_key_of_the_contract_is_read() -> None:
    """Nothing that an operator can write is silently ignored."""
    policy = parsed(WHOLE)
    assert policy.mode is Mode.ENFORCE
    gib = 1 << 30
    assert policy.watermarks == Watermarks(
        Mark(bytes=40 * gib), Mark(bytes=38 * gib), Mark(percent=90), Mark(percent=88.5)
    )
    assert (policy.minimum_age, policy.maximum_unused_age) == (5400, 30 * 86400)
    assert (policy.minimum_size, policy.come_back_for) == (0, 0)
    assert (policy.protect_unpullable, policy.system_enabled) == (False, False)
    assert policy.system_keep_for == 86400
    assert [str(rule.pattern) for rule in policy.exclusions] == [
        "registry.example.com/base/**",
        "nginx:1.*",
        "sha256:6e8336ec32bd",
        "quay.io/team/app",
    ]
    assert [rule.reason for rule in policy.exclusions] == [*["cold start budget"] * 3, None]
    assert [rule.until for rule in policy.exclusions] == [*[dt.date(2027, 6, 30)] * 3, None]
    assert [str(required.pattern) for required in policy.required] == [
        "registry.example.com/agent:v2"
    ]


def test_a_rule_is_known_by_the_place_of_its_pattern() -> None:
    """`explain` sends the operator to the very pattern, also within a flow list."""
    places = [str(rule.place) for rule in parsed(WHOLE).exclusions]
    assert places == ["a.yaml:15:14", "a.yaml:15:46", "a.yaml:15:59", "a.yaml:19:9"]
    assert str(parsed(WHOLE).required[0].place) == "a.yaml:20:18"


def test_what_is_not_given_is_the_default() -> None:
    """A policy of two lines is a whole policy."""
    assert parsed("") == Policy()
    assert parsed("exclusions: []\nrequiredImages: []\n") == Policy()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("moda: enforce", "3:1: policy: unknown key 'moda'; did you mean 'mode'?"),
        ("é: 1", "3:1: policy: unknown key 'é'; expected one of apiVersion, kind, mode"),
        ("mode: [x]", "3:7: mode: expected a value, found a list"),
        ("mode: Enforce", "3:7: mode: expected observe or enforce, found 'Enforce'"),
        ("mode:", "3:6: mode: expected a value, found nothing"),
        ("mode: ~", "3:7: mode: expected a value, found nothing"),
        ("mode: observe\nmode: enforce", "4:1: policy: key 'mode' is given twice"),
        ("[a]: b", "3:1: policy: expected a key, found a list"),
        ("<<: {mode: enforce}", "3:1: policy: unknown key '<<'"),
        ("watermarks: 80%", "3:13: watermarks: expected auto, or high and low, found '80%'"),
        ("watermarks: {hi: 80%}", "3:14: watermarks: unknown key 'hi'; did you mean 'high'?"),
        ("watermarks: {high: 101%}", "3:20: watermarks.high: expected a share between 0% and"),
        ("watermarks: {high: 0%}", "3:20: watermarks.high: expected a share between 0% and"),
        ("watermarks: {high: -5%}", "3:20: watermarks.high: expected a share between 0% and"),
        (
            "watermarks: {high: 80, low: 70}",
            "3:20: watermarks.high: expected a share like 80% or bytes in use like 40Gi, "
            "found '80', which has no unit; write 80%",
        ),
        ("watermarks: {high: 40 GB}", "3:20: watermarks.high: expected a share like 80% or bytes"),
        ("watermarks: {low: 1048576}", "3:19: watermarks.low: expected a share like 80% or bytes"),
        ("watermarks: {high: 0.8}", "3:20: watermarks.high: expected a share like 80% or bytes"),
        ("watermarks: {high: 100}", "3:20: watermarks.high: expected a share like 80% or bytes"),
        ("watermarks: {high: 0}", "3:20: watermarks.high: expected a share like 80% or bytes"),
        ("watermarks: {high: 0Ki}", "3:20: watermarks.high: expected more than 0 bytes"),
        ("watermarks: {inodes: {high: 5Gi}}", "3:29: watermarks.inodes.high: expected a share"),
        ("minimumAge: 2", "3:13: minimumAge: expected a duration like 90s, 2m or 1h30m, found '2'"),
        ("minimumAge: -2m", "3:13: minimumAge: expected a duration"),
        ("minimumAge: ٢m", "3:13: minimumAge: expected a duration"),
        ("minimumAge: 2m1h", "3:13: minimumAge: expected a duration"),
        ("minimumAge: 9999999h", "3:13: minimumAge: expected less than 100 years"),
        ("minimumSize: 1MB", "3:14: minimumSize: expected a size like 1Mi, 40Gi or 1048576"),
        ("minimumSize: 2048Pi", "3:14: minimumSize: expected less than 1 EiB"),
        ("minimumSize: 1_000", "3:14: minimumSize: expected a size"),
        ("protectUnpullable: yes", "3:20: protectUnpullable: expected true or false, found 'yes'"),
        ("system: {enabled: 1}", "3:19: system.enabled: expected true or false, found '1'"),
        ("system: {keepfor: 1h}", "3:10: system: unknown key 'keepfor'; did you mean 'keepFor'?"),
        ("exclusions:", "3:12: exclusions: expected a list, found nothing"),
        ("exclusions: [nginx]", "3:14: exclusions[0]: expected keys and values, found 'nginx'"),
        ("exclusions: [{}]", "3:14: exclusions[0]: expected images: [pattern, ...], found none"),
        (
            "exclusions:\n- image: [a]",
            "4:3: exclusions[0]: unknown key 'image'; did you mean 'images'?",
        ),
        ("exclusions: [{images: a}]", "3:23: exclusions[0].images: expected a list, found 'a'"),
        ("exclusions: [{images: [[a]]}]", "3:24: exclusions[0].images: expected a value, found a"),
        ("exclusions: [{images: ['']}]", "3:24: exclusions[0].images: expected an image pattern"),
        (
            "exclusions: [{images: [a], until: 2027-02-30}]",
            "3:35: exclusions[0].until: expected a date like 2027-01-31, found '2027-02-30'",
        ),
        ("exclusions: [{images: [a], until: 20270131}]", "3:35: exclusions[0].until: expected a"),
        ("exclusions: [{images: [a], until: 2027-W04-7}]", "3:35: exclusions[0].until: expected"),
        (
            "exclusions: [{images: [a], reason: [b]}]",
            "3:36: exclusions[0].reason: expected a value",
        ),
        ("requiredImages: [a?]", "3:19: requiredImages: '?' is no wildcard here"),
        ("requiredImages: {a: b}", "3:17: requiredImages: expected a list, found keys and values"),
    ],
)
def test_a_mistake_is_reported_with_its_place(body: str, problem: str) -> None:
    """The error has line and column, what was expected and what was found."""
    assert problems(body)[0].startswith(f"a.yaml:{problem}")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("exclusions: [{images: ['é/ü?x', \"a??\", a?, 'x''y?']}]", [28, 35, 41, 44]),
        ("exclusions:\t[{images: [é?]}]", [25]),
        ('exclusions: [{images: [ "\\x61?" ]}]', [25]),
        ("exclusions: [{images: [reg.example/a/b**:-c]}]", [42]),
        ("exclusions: [{images: [reg.example//a]}]", [35]),
        ("exclusions: [{images: [reg.example/a@sha256:12]}]", [38]),
        ("exclusions: [{images: ['sha256:xyz']}]", [32]),
    ],
)
def test_a_fault_within_a_pattern_is_pointed_at(body: str, place: list[int]) -> None:
    """Columns count characters, not bytes, and go into the pattern; a pattern that is written
    with escapes is pointed at as a whole."""
    assert [int(one.split(":")[2]) for one in problems(body)] == place


def test_a_pattern_over_several_lines_is_pointed_at_as_a_whole() -> None:
    """No column of the wrong line."""
    body = "exclusions:\n- images:\n  - >-\n    reg.example/\n    a?b\n"
    assert problems(body)[0].startswith("a.yaml:5:5:")


def test_all_mistakes_are_reported_at_once() -> None:
    """Nobody wants to fix a file one error message at a time."""
    found = problems("mode: x\nminimumAge: y\nexclusions: [{images: [a?, b]}]\nminimumSize: z\n")
    assert [one.split(":")[1] for one in found] == ["3", "4", "5", "6"]


def test_a_thousand_mistakes_do_not_fill_the_log() -> None:
    """Fifty are listed and the others counted; a text of any length is cut."""
    found = problems("".join(f"key{number}: a\n" for number in range(1000)))
    assert len(found) == 51
    assert found[-1].endswith("and 950 more problems in this file")
    assert len(problems(f"exclusions: [{{images: ['sha256:{'x' * 100_000}']}}]")[0]) < 500


@pytest.mark.parametrize(
    ("marks", "problem"),
    [
        ("{high: 70%, low: 70%}", "3:30: watermarks.low (70%) must be below watermarks.high (70%)"),
        ("{low: 70%}", "3:19: watermarks.low (70%) needs watermarks.high too"),
        ("{high: 1Gi, low: 2Gi}", "3:30: watermarks.low (2147483648 bytes) must be below"),
        ("{high: 40Gi, low: 78%}", "3:31: watermarks.low (78%) and watermarks.high (42949672960"),
        ("{inodes: {low: 50%}}", "3:28: watermarks.inodes.low (50%) needs watermarks.inodes.high"),
    ],
)
def test_marks_that_would_never_stop_or_never_start_are_refused(marks: str, problem: str) -> None:
    """A low mark that is not below the high one, or is only on some nodes (a share against bytes),
    is a mistake and no policy."""
    assert [one.startswith(f"a.yaml:{problem}") for one in problems(f"watermarks: {marks}")] == [
        True
    ]


def test_a_value_that_is_no_mark_is_reported_once() -> None:
    """The default it falls back to is not compared: one mistake, one message."""
    assert len(problems("watermarks: {high: 9x%, low: 85%}")) == 1


def test_a_file_must_say_that_it_is_a_policy() -> None:
    """Some other file of the cluster, mounted by mistake, is no empty policy."""
    assert problems(b"mode: enforce\n") == [
        "a.yaml:1:1: expected apiVersion: reconciler/v1, found no apiVersion",
        "a.yaml:1:1: expected kind: ImagePolicy, found no kind",
    ]
    other = b"apiVersion: reconciler/v2\nkind: Pod\n"
    assert problems(other) == [
        "a.yaml:1:13: apiVersion: expected reconciler/v1, found 'reconciler/v2'",
        "a.yaml:2:7: kind: expected ImagePolicy, found 'Pod'",
    ]


def test_a_rule_warns_a_week_ahead_of_its_end() -> None:
    """A protection does not end behind the operator's back."""

    def warnings(until: str) -> tuple[str, ...]:
        return with_warnings(f"exclusions: [{{images: [a], until: {until}}}]")[1]

    assert warnings("2027-02-01") == ()
    assert warnings("2027-01-31") == (
        "a.yaml:3:35: exclusions[0].until: this rule protects until the end of 2027-01-31 (UTC)"
        " only",
    )
    assert "until the end of 2027-01-24" in warnings("2027-01-24")[0]
    assert "ended with 2027-01-23 and protects nothing any more" in warnings("2027-01-23")[0]


def test_a_rule_without_patterns_is_warned_of() -> None:
    """It is valid and protects nothing: somebody meant something by it."""
    assert with_warnings("exclusions: [{images: []}]")[1] == (
        "a.yaml:3:23: exclusions[0]: a rule without patterns protects nothing",
    )


def test_several_files_make_one_policy() -> None:
    """Lists concatenate in the order of the files' names, single keys come from any of them."""
    policy = parsed(
        "mode: enforce\nexclusions: [{images: [a, b]}]\n",
        "minimumAge: 5m\nexclusions: [{images: [c]}]\nrequiredImages: [d]\n",
    )
    assert (policy.mode, policy.minimum_age) == (Mode.ENFORCE, 300)
    assert [f"{rule.place} {rule.pattern}" for rule in policy.exclusions] == [
        "a.yaml:4:24 a",
        "a.yaml:4:27 b",
        "b.yaml:4:24 c",
    ]
    assert len(policy.required) == 1


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("mode: enforce", "mode: enforce", "b.yaml:3:7: mode is set already at a.yaml:3:7"),
        (
            "watermarks: {high: 90%}",
            "watermarks: {low: 50%}",
            "b.yaml:3:13: watermarks is set already at a.yaml:3:13",
        ),
        ("system: {}", "\nsystem: {}", "b.yaml:4:9: system is set already at a.yaml:3:9"),
    ],
)
def test_a_key_set_in_two_files_names_both_places(first: str, second: str, problem: str) -> None:
    """Which of the two would count must not depend on a file's name."""
    assert problems(first, second) == [problem]


def test_one_bad_file_refuses_the_whole_edit() -> None:
    """Half a policy is none: all problems of all files are reported, and nothing is used."""
    found = problems("mode: x", "minimumAge: 1m", "kind: Pod")
    assert [one.split(" ")[0] for one in found] == ["a.yaml:3:7:", "c.yaml:3:1:"]
    assert len(HEAD.splitlines()) == 2
