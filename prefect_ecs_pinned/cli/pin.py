"""`pinned-ecs pin`: register what is needed, once, and print the ARNs."""

from __future__ import annotations

from prefect_ecs_pinned.cli import console, options
from prefect_ecs_pinned.cli.plan import (
    warn_of_added_container,
    warn_of_difference,
    warn_of_open_image,
)


def pin(
    block: str | None = options.BLOCK,
    pool: str | None = options.POOL,
    deployment: str | None = options.DEPLOYMENT,
    every: bool = options.ALL,
    override: list[str] | None = options.OVERRIDE,
    json: bool = options.JSON,
) -> None:
    """Register what a block or a pool needs; print the ARNs.

    An existing revision is used, and nothing is registered. With registration "never", agents and
    workers then need no permission to register.
    """
    from prefect_ecs_pinned.operations.pin import pin as make_pins

    options.check_one_of(deployment, every)
    holder = options.holder(block, pool)
    pins = console.run(make_pins(holder, deployment, every, options.overrides(override)))
    for made in pins:
        reason = f" ({made.reason})" if made.reason else ""
        console.say(f"{made.how}: {made.arn} for {', '.join(made.used_by)}{reason}")
        warn_of_open_image(made.image_unset, made.image)
        warn_of_added_container(made.used_by, made.added)
        warn_of_difference(made.arn, made.differs)
    if json:
        console.print_json(pins)
    else:
        for made in pins:
            console.print_line(made.arn)
    console.suggest(f"pinned-ecs show {options.words(block, pool)}")
