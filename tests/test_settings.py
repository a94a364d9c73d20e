"""Where settings come from: flags, then the environment, then crictl's file, then what exists."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.settings import Settings, SettingsError, parse_listen, resolve

NOWHERE = Path("/nowhere/crictl.yaml")


def settled(
    flags: dict[str, object] | None = None,
    environ: dict[str, str] | None = None,
    crictl: Path = NOWHERE,
    sockets: tuple[str, ...] = (),
) -> Settings:
    return resolve(flags or {}, environ or {}, crictl, sockets)


def crictl(folder: Path, text: str) -> Path:
    path = folder / "crictl.yaml"
    path.write_text(text)
    return path


def test_the_runtime_is_named_by_flag_environment_file_or_found(tmp_path: Path) -> None:
    """In that order, and the settings say which it was."""
    file = crictl(tmp_path, "runtime-endpoint: unix:///file.sock\n")
    flags: dict[str, object] = {"runtime_endpoint": "/flag.sock"}
    environ = {"CONTAINER_RUNTIME_ENDPOINT": "unix:///env.sock"}
    there = (str(tmp_path / "none.sock"), str(file))
    everything = [settled(flags, environ, file, there), settled(None, environ, file, there)]
    everything += [settled(None, None, file, there), settled(None, None, NOWHERE, there)]
    assert [(one.runtime_endpoint, one.endpoint_from) for one in everything] == [
        ("unix:///flag.sock", "--runtime-endpoint"),
        ("unix:///env.sock", "CONTAINER_RUNTIME_ENDPOINT"),
        ("unix:///file.sock", str(file)),
        (f"unix://{file}", "found there"),
    ]
    nothing = settled()
    assert nothing.runtime_endpoint is None
    assert "/run/containerd/containerd.sock" in nothing.no_endpoint


def test_images_of_another_runtime_are_never_used(tmp_path: Path) -> None:
    """crictl's file names one runtime's images, a flag another runtime: on those nothing would
    look used. The file's image endpoint goes with the file's runtime only."""
    file = crictl(tmp_path, "runtime-endpoint: /file.sock\nimage-endpoint: /file-images.sock\n")
    assert settled(None, None, file).image_endpoint == "unix:///file-images.sock"
    assert settled({"runtime_endpoint": "/flag.sock"}, None, file).image_endpoint is None
    environ = {"CONTAINER_RUNTIME_ENDPOINT": "/env.sock", "IMAGE_SERVICE_ENDPOINT": "/env-i.sock"}
    assert settled(None, environ, file).image_endpoint == "unix:///env-i.sock"
    assert settled({"runtime_endpoint": "/flag.sock"}, environ, file).image_endpoint is None
    flags: dict[str, object] = {"image_endpoint": "/flag-i.sock"}
    assert settled(flags, environ, file).image_endpoint == "unix:///flag-i.sock"
    assert settled(flags, None, file).image_endpoint == "unix:///flag-i.sock"


@pytest.mark.parametrize("text", ["/run/x.sock", "unix:/run/x.sock", "unix:///run/x.sock"])
def test_an_endpoint_has_many_spellings(text: str) -> None:
    """crictl's, kubelet's, and a plain path."""
    assert settled({"runtime_endpoint": text}).runtime_endpoint == "unix:///run/x.sock"


@pytest.mark.parametrize("text", ["tcp://1.2.3.4:5", "http://x", "x.sock", "unix://x.sock"])
def test_an_endpoint_that_is_not_a_socket_is_reported_with_its_source(text: str) -> None:
    """The error says where it was set."""
    with pytest.raises(SettingsError, match=r"^CONTAINER_RUNTIME_ENDPOINT: expected unix:///PATH"):
        settled(None, {"CONTAINER_RUNTIME_ENDPOINT": text})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "is not valid YAML: while parsing a flow node"),
        ("\x00", "is not valid YAML: "),
        pytest.param("[" * 5_000 + "]" * 5_000, "is nested deeper than 32", id="nested lists"),
        ("a: &a [*a]", "is using *a, an alias of "),
    ],
)
def test_a_broken_crictl_file_is_one_line_for_people(
    tmp_path: Path, text: str, problem: str
) -> None:
    """And no error at all if the endpoint is named otherwise."""
    file = crictl(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        settled(None, None, file)
    assert str(caught.value).startswith(f"{file} {problem}")
    assert "\n" not in str(caught.value)
    assert settled({"runtime_endpoint": "/x.sock"}, None, file).runtime_endpoint


@pytest.mark.parametrize("text", ["", "- a", "42", "runtime-endpoint:\n", "runtime-endpoint: ''"])
def test_a_crictl_file_that_names_nothing_is_ignored(tmp_path: Path, text: str) -> None:
    """crictl itself writes such files; content without a meaning causes a warning."""
    settings = settled(None, None, crictl(tmp_path, text))
    assert settings.runtime_endpoint is None
    assert len(settings.warnings) == (text in ("- a", "42"))


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("runtime-endpoint:unix:///run/crio.sock\n", 1, "runtime-endpoint:unix:///run/crio.sock"),
        ("runtime-endpoint:unix:///a\nimage-endpoint:unix:///a\n", 1, "runtime-endpoint:unix"),
        ("timeout: 10\nruntime-endpoint:unix:///a\n", 2, "runtime-endpoint:unix:///a"),
        ("runtime-endpoint: /a\nimage-endpoint:/b\n", 2, "image-endpoint:/b"),
        ("image-endpoint:/b\n", 1, "image-endpoint:/b"),
        ("runtime_endpoint: unix:///a\n", 1, "runtime_endpoint: unix:///a"),
        ("debug: true\nruntimeEndpoint: unix:///a\n", 2, "runtimeEndpoint: unix:///a"),
        ("- runtime-endpoint: unix:///a\n", 1, "- runtime-endpoint: unix:///a"),
        ("runtime-endpoint=unix:///a\n", 1, "runtime-endpoint=unix:///a"),
    ],
)
def test_an_endpoint_that_yaml_does_not_see_is_reported_with_its_place(
    tmp_path: Path, text: str, line: int, found: str
) -> None:
    """If it were ignored, the first socket that exists would be used: maybe another runtime's."""
    file = crictl(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        settled(None, None, file, (str(file),))
    assert found in str(caught.value)
    assert str(caught.value).startswith(f"{file}:{line}:1: expected ")
    assert settled({"runtime_endpoint": "/x.sock"}, None, file).runtime_endpoint


def test_a_socket_that_is_not_where_crictls_file_says_is_warned_of(tmp_path: Path) -> None:
    """It is not replaced by another runtime's socket; one named by a flag causes no warning."""
    here = tmp_path / "here.sock"
    here.touch()
    text = f"runtime-endpoint: {tmp_path}/gone.sock\nimage-endpoint: {here}\n"
    file = crictl(tmp_path, text)
    settings = settled(None, None, file, (str(here),))
    assert settings.runtime_endpoint == f"unix://{tmp_path}/gone.sock"
    (warning,) = settings.warnings
    assert warning.startswith(f"{file} names unix://{tmp_path}/gone.sock, and no such socket is")
    assert settled({"runtime_endpoint": str(here)}, None, file).warnings == ()
    assert settled(None, None, crictl(tmp_path, f"runtime-endpoint: {here}\n")).warnings == ()


@pytest.mark.parametrize("value", ["2024-13-45", "0b_", "!!int abc", "!!bool abc"])
def test_a_value_that_is_none_of_ours_does_not_hide_the_runtime(tmp_path: Path, value: str) -> None:
    """A month 13 beside the endpoint ended every command with a traceback."""
    file = crictl(tmp_path, f"timeout: {value}\nruntime-endpoint: /x.sock\n")
    assert settled(None, None, file).runtime_endpoint == "unix:///x.sock"


def test_an_endpoint_that_is_named_once_and_used_twice_is_read(tmp_path: Path) -> None:
    """crictl reads such a file too."""
    file = crictl(tmp_path, "runtime-endpoint: &it /x.sock\nimage-endpoint: *it\n")
    settings = settled(None, None, file)
    assert settings.runtime_endpoint == settings.image_endpoint == "unix:///x.sock"


@pytest.mark.timeout(30)
def test_a_fifo_for_a_crictl_file_is_an_error_and_hangs_no_command(tmp_path: Path) -> None:
    """Nobody ever writes to it; a device is never read to its end."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SettingsError, match=r"expected a regular file, found a FIFO"):
        settled(None, None, tmp_path / "fifo")
    with pytest.raises(SettingsError, match=r"expected a regular file, found a device"):
        settled(None, None, Path("/dev/full"))


def test_a_directory_for_a_crictl_file_is_an_error(tmp_path: Path) -> None:
    """What cannot be read may name another runtime than the one that would be found."""
    with pytest.raises(SettingsError, match="cannot be read"):
        settled(None, None, tmp_path)


def test_a_policy_is_named_or_the_default_path_is_taken() -> None:
    """Only a named one may not be absent."""
    by_default = settled()
    assert (str(by_default.policy), by_default.policy_named) == (
        "/etc/reconciler/policy.yaml",
        False,
    )
    by_environment = settled(None, {"RECONCILER_POLICY": "/p"})
    assert (str(by_environment.policy), by_environment.policy_named) == ("/p", True)
    by_flag = settled({"policy": Path("/f")}, {"RECONCILER_POLICY": "/p"})
    assert (str(by_flag.policy), by_flag.policy_named) == ("/f", True)
    assert not settled(None, {"RECONCILER_POLICY": ""}).policy_named


def test_the_other_flags_have_the_defaults_of_the_contract() -> None:
    """What the help says."""
    settings = settled()
    assert str(settings.state_dir) == "/var/lib/reconciler"
    assert settings.listen == ("127.0.0.1", 9723)
    assert (settings.kubelet_config, settings.kubelet_config_dir) == (None, None)
    assert (settings.events, settings.dry_run, settings.log_json) == (True, False, False)
    assert settings.log_level == "info"
    assert (settings.pods, settings.kubelet_endpoint, settings.pods_node) == ("auto", None, "")
    assert str(settings.pods_socket) == "/var/lib/kubelet/pods-api/pods-api.sock"
    assert not settled({"events": "off"}).events
    assert settled({"log_format": "json"}).log_json


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9723", ("127.0.0.1", 9723)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:80", ("::1", 80)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
    ],
)
def test_an_address_to_listen_on(text: str, address: tuple[str, int]) -> None:
    """HOST:PORT, and IPv6 in brackets."""
    assert parse_listen(text) == address


@pytest.mark.parametrize("text", ["9723", ":9723", "host", "::1:80", "h:65536", "h:-1", "a b:1"])
def test_an_invalid_address_is_an_error(text: str) -> None:
    """With what was expected."""
    with pytest.raises(SettingsError, match="--listen: expected HOST:PORT"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("node-7", ("node-7", 10250)),
        ("10.0.0.7:443", ("10.0.0.7", 443)),
        ("fd00::7", ("fd00::7", 10250)),
        ("[fd00::7]:443", ("fd00::7", 443)),
        ("[fd00::7]", ("fd00::7", 10250)),
    ],
)
def test_where_kubelet_is(text: str, address: tuple[str, int]) -> None:
    """The default port is 10250; the flag goes before the environment."""
    environ = {"NODE_IP": "10.0.0.9"}
    assert settled({"kubelet_endpoint": text}, environ).kubelet_endpoint == address
    assert settled(None, environ).kubelet_endpoint == ("10.0.0.9", 10250)
    assert settled(None, {"NODE_IP": "fd00::9"}).kubelet_endpoint == ("fd00::9", 10250)


@pytest.mark.parametrize("text", ["https://a", ":1", "a:b", "a:0", "a:65536", "a b", "[fd00::7"])
def test_an_invalid_kubelet_endpoint_is_an_error(text: str) -> None:
    """With what was expected."""
    with pytest.raises(SettingsError, match="--kubelet-endpoint: expected HOST or HOST:PORT"):
        settled({"kubelet_endpoint": text})


def test_the_node_whose_pods_are_requested_is_this_one() -> None:
    """A variable of its own, since NODE_NAME with a token means Events too."""
    assert settled(None, {"RECONCILER_PODS_NODE": "a"}).pods_node == "a"
    assert settled(None, {"RECONCILER_PODS_NODE": "a"}).node_name == ""
    assert settled({"node_name": "b"}, {"RECONCILER_PODS_NODE": "a"}).pods_node == "b"
