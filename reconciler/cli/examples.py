"""The examples that `--help` shows: for each command some lines that work as they are."""

from __future__ import annotations

OVERVIEW = """examples:
  reconciler plan                      what would go now, and why everything else stays
  reconciler explain nginx:1.27        why is this image still here?
  reconciler check policy.yaml         is this policy valid?
  reconciler diff policy.yaml          what would it change on this node?
  reconciler prune --dry-run --to 60%  what would have to go until 60 percent
  reconciler status                    what does the daemon do right now?
  reconciler history --since 1h        what was removed, and why?
  reconciler images --sort size        every image here and its verdict
  reconciler run                       the daemon; observes until the policy says enforce
  reconciler demo                      all of it on a simulated node, needs nothing installed
"""

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "run": (
        ("run", "observes until the policy says enforce"),
        ("run --dry-run --log-format json", "observes whatever it says"),
    ),
    "prune": (
        ("prune --dry-run --to 60%", "what would have to go until 60 percent"),
        ("prune", "down to the policy's low mark"),
        ("prune --all-unused --minimum-age 1h", "everything that nothing protects"),
    ),
    "plan": (
        ("plan", "what goes next, and why everything else stays"),
        ("plan -o json --minimum-age 0s", "for a program, young images too"),
    ),
    "explain": (
        ("explain nginx:1.27", "why is this image still here?"),
        ("explain sha256:6e8336ec32bd -o json", "by the beginning of an id"),
    ),
    "check": (("check policy.yaml", "is it valid? 0 is yes"),),
    "diff": (("diff policy.yaml", "what would it change on this node?"),),
    "status": (
        ("status", "how full, and does anything hold?"),
        ("status --listen 127.0.0.1:9723 -o json", "of a daemon that listens there"),
    ),
    "top": (("top", "live, until q"), ("top --every 5s --count 3", "three looks")),
    "history": (
        ("history --since 1h", "what went in the last hour, and why"),
        ("history --image nginx -o json", "what became of one image"),
    ),
    "images": (
        ("images --sort size", "the biggest first"),
        ("images --verdict candidate -o wide", "what nothing protects, in full"),
    ),
    "record": (("record --out node.jsonl --anonymize", "to simulate with, elsewhere"),),
    "simulate": (("simulate --from node.jsonl --watermarks auto,90/88", "this past, other marks"),),
    "demo": (("demo", "a minute"), ("demo --seconds 20 --plain", "as lines of text")),
    "completion": (
        ("completion bash > /etc/bash_completion.d/reconciler", "for all users of bash"),
        ("completion fish > ~/.config/fish/completions/reconciler.fish", "for you, in fish"),
    ),
}


def shown(name: str) -> str:
    """The examples of one command, as the end of its help."""
    examples = EXAMPLES[name]
    width = max(len(line) for line, _ in examples)
    return "examples:\n" + "\n".join(
        f"  reconciler {line.ljust(width)}  {text}" for line, text in examples
    )
