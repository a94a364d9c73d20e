"""The ten made-up or rebuilt pasts that docs/eviction.md measures on. A name and a seed always
give the same past, so figures can be compared and checked."""

from __future__ import annotations

import random
from pathlib import Path

from .catalogue import Catalogue, Zipf, lognormal
from .trace import DAY, HOUR, Trace
from .trace_builder import END, JOBS, PERIODS, SERVICES, WARM, Part, TraceBuilder, current
from .traces import azure, prow


def services(apps: int = 80, a_day: float = 150, slope: float = 0.8, days: float = 5) -> Part:
    """Deployments that are rolled out every few days; new versions often start here too."""

    def make(builder: TraceBuilder) -> None:
        made = [builder.catalogue.app() for _ in range(apps)]
        timelines = [builder.deployments(app, days) for app in made]
        pick = Zipf(builder.draw, apps, slope)
        for at in builder.poisson(a_day):
            lasted = builder.lifetime(SERVICES)
            builder.start(at, lasted, current(timelines[pick()], at))
        for rank, timeline in enumerate(timelines):
            share = (1 / (rank + 1) ** slope) / pick.total
            lands = min(0.9, 3 * share + 0.1)
            for at, image in timeline:
                if at > 0 and builder.draw.random() < lands:
                    later = at + builder.draw.random() * 60
                    builder.start(later, builder.lifetime(SERVICES), image)

    return make


def one_repository(groups: int = 6) -> Part:
    """Services that share a few repositories under meaningless tags: the worst case for tag
    series."""
    make_services = services()

    def make(builder: TraceBuilder) -> None:
        make_services(builder)
        catalogue = builder.catalogue
        for number, app in enumerate(catalogue.owners):
            name = f"registry.example.com/all-{app.number % groups}"
            catalogue.names[number] = f"{name}:v{number + 1000}"

    return make


def batch(apps: int = 400, a_day: float = 300, days: float = 10) -> Part:
    """Many kinds of short jobs, whose popularity drifts."""

    def make(builder: TraceBuilder) -> None:
        draw = builder.draw
        made = [builder.catalogue.app() for _ in range(apps)]
        timelines = [builder.deployments(app, days) for app in made]
        pick, order, day = Zipf(draw, apps, 0.9), list(range(apps)), 0
        for at in builder.poisson(a_day):
            while at // DAY > day:
                day += 1
                for _ in range(int(apps * 0.03)):
                    one, other = draw.randrange(apps), draw.randrange(apps)
                    order[one], order[other] = order[other], order[one]
            lasted = builder.lifetime(JOBS)
            builder.start(at, lasted, current(timelines[order[pick()]], at))

    return make


def crons(jobs: int = 200, apps: int = 90, lands: float = 1 / 3, days: float = 14) -> Part:
    """Jobs that come back at fixed times; each run lands on this node with chance `lands`."""

    def make(builder: TraceBuilder) -> None:
        draw = builder.draw
        made = [builder.catalogue.app() for _ in range(apps)]
        timelines = [builder.deployments(app, days) for app in made]
        pick = Zipf(draw, apps, 0.7)
        for job in range(jobs):
            app = job if job < apps else pick()
            chance = draw.random() * sum(share for _, share in PERIODS)
            period: float = PERIODS[-1][0]
            for hours, share in PERIODS:
                if chance < share:
                    period = hours
                    break
                chance -= share
            period *= HOUR
            at = draw.random() * period
            lasts = min(2 * HOUR, lognormal(draw, 300, 1.0))
            while at < END:
                if draw.random() < lands:
                    begun = at + draw.uniform(0, 60)
                    lasted = lasts * lognormal(draw, 1, 0.2)
                    builder.start(begun, lasted, current(timelines[app], at))
                at += period

    return make


def office(at: float) -> float:
    """How busy people are: Monday to Friday, 8 to 19 h; time 0 is a Monday at midnight."""
    day, hour = int(at // DAY) % 7, at % DAY / HOUR
    if day >= 5:
        return 0.1
    return 1.0 if 8 <= hour < 19 else 0.15


def ci(a_day: float = 240, tools: int = 60, projects: int = 15) -> Part:
    """Pipelines: each runs a few tool images, and one image of the commit that is used a few times
    and then hardly ever again."""

    def make(builder: TraceBuilder) -> None:
        draw, catalogue = builder.draw, builder.catalogue
        made = [catalogue.app(dependencies=(120, 1.0)) for _ in range(tools)]
        timelines = [builder.deployments(app, 14) for app in made]
        own = [catalogue.app(own=(120, 0.8)) for _ in range(projects)]
        tool, project = Zipf(draw, tools, 1.0), Zipf(draw, projects, 1.0)
        favourites = [[tool() for _ in range(4)] for _ in range(projects)]
        for at in builder.poisson(a_day, office):
            which = project()
            for _ in range(draw.randint(1, 3)):
                liked = draw.random() < 0.7
                chosen = draw.choice(favourites[which]) if liked else tool()
                begun = at + draw.random() * 300
                builder.start(begun, builder.lifetime(JOBS), current(timelines[chosen], at))
            image, times = catalogue.version(own[which], at, renewed=0.1), 1
            while draw.random() < 0.5 and times < 6:
                times += 1
            for _ in range(times):
                begun = at + 300 + draw.expovariate(1 / 1200)
                builder.start(begun, builder.lifetime(JOBS), image)
            if draw.random() < 0.1:
                begun = at + draw.uniform(6, 48) * HOUR
                builder.start(begun, builder.lifetime(JOBS), image)

    return make


def machine_learning(apps: int = 10, a_day: float = 4) -> Part:
    """A few huge images on CUDA bases, seldom used."""

    def make(builder: TraceBuilder) -> None:
        draw, catalogue = builder.draw, builder.catalogue
        cuda = [catalogue.layer(lognormal(draw, 1800, 0.2), 2.2) for _ in range(3)]
        frameworks = [
            (base, catalogue.layer(lognormal(draw, 2500, 0.3), 2.2))
            for base in cuda
            for _ in range(2)
        ]
        made = [
            catalogue.app(dependencies=(800, 0.6), own=(50, 0.5), below=draw.choice(frameworks))
            for _ in range(apps)
        ]
        timelines = [builder.deployments(app, 10) for app in made]
        pick = Zipf(draw, apps, 0.8)
        for at in builder.poisson(a_day):
            lasted = lognormal(draw, 2 * HOUR, 1.0)
            builder.start(at, lasted, current(timelines[pick()], at))

    return make


PARTS: dict[str, tuple[Part, ...]] = {
    "svc": (services(),),
    "batch": (batch(),),
    "cron3": (crons(), services(apps=15, a_day=15)),
    "cron1": (crons(lands=1.0), services(apps=15, a_day=15)),
    "ci": (ci(),),
    "ml": (machine_learning(), batch(apps=60, a_day=120, days=7)),
    "mixed": (
        services(apps=50, a_day=80),
        crons(jobs=100, apps=60),
        ci(a_day=100),
        machine_learning(apps=5, a_day=1.5),
    ),
    "mono": (one_repository(),),
}
NAMES = (*PARTS, "azure", "prow")


def workload(name: str, seed: int, traces: Path | None = None, *, crio: bool = False) -> Trace:
    """One of the ten. `azure` and `prow` read their traces from a folder. Raises ValueError,
    OSError."""
    if name in PARTS:
        draw = random.Random(f"{name}:{seed}")
        builder = TraceBuilder(draw, Catalogue(draw))
        for make in PARTS[name]:
            make(builder)
        return traced(name, builder, WARM, END, crio=crio)
    if name not in NAMES:
        raise ValueError(f"expected one of {', '.join(NAMES)}, found {name!r}")
    if traces is None:
        raise ValueError(f"{name} is rebuilt from a real trace: give its folder with --traces")
    builder, warm, end = (azure if name == "azure" else prow)(seed, traces)
    return traced(name, builder, warm, end, crio=crio)


def traced(name: str, builder: TraceBuilder, warm: float, end: float, *, crio: bool) -> Trace:
    """Returns what was built, as a trace."""
    catalogue = builder.catalogue
    starts = [one for one in builder.starts if 0 <= one.at < end]
    starts.sort(key=lambda one: (one.at, one.lasted, one.image))
    return Trace(
        name,
        catalogue.packed,
        catalogue.unpacked,
        catalogue.layers,
        catalogue.images(crio=crio),
        starts,
        warm,
        end,
        crio=crio,
    )
