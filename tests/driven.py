"""`fit` with what only the estimators ask of a run, driven as they drive it; the command."""

import xpnet
from xpnet.training.checkpoint import checkpoint_of
from xpnet.training.plan import Plan, Watch
from xpnet.training.session import Session

OWN = ("whole_epochs", "block_steps", "optimizer_state")


def fit(net, x, t, **options):
    """`xpnet.fit`, which may also be given an order of the caller's own, whole epochs, the length
    of a block, or an optimizer's state."""
    if not callable(options.get("shuffle")) and not set(OWN) & options.keys():
        return xpnet.fit(net, x, t, **options)
    watch = {name: options.pop(name) for name in ("callbacks", "block_steps") if name in options}
    optimizer_state = options.pop("optimizer_state", None)
    distributed = options.pop("distributed", False)
    checkpoint = checkpoint_of(options)
    session = Session(
        Plan(net, x, t, **options), Watch(checkpoint=checkpoint, **watch),
        distributed=distributed, optimizer_state=optimizer_state,
    )  # fmt: skip
    with session.under_way() as blocks:
        for block in blocks:
            if session.report(block, session.run(block)):
                break
    return session.history


def xpnet_command(*words):
    """Run the command in this process: (code, output, errors)."""
    from click.testing import CliRunner

    from xpnet.cli import cli

    result = CliRunner().invoke(cli, [*map(str, words)], prog_name="xpnet")
    return result.exit_code, result.stdout, result.stderr
