"""What the documentation says: commands, links, figures, promises; and that it says it twice."""

import ast
import pathlib
import re
import runpy
import shlex
import subprocess
import sys
import tomllib

import click
import pytest
from torch.distributed.run import get_args_parser

import xpnet
from xpnet import functions, losses, optimizers
from xpnet.cli import cli

HERE = pathlib.Path(__file__).parent.parent
README, CHINESE = HERE / "README.md", HERE / "README.zh-CN.md"
DOCS = sorted(HERE.glob("docs/*.md"))
PAGES = [README, CHINESE, HERE / "CONTRIBUTING.md", *DOCS]
NAMES = [page.name for page in PAGES]
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
README_PYTHON = re.findall(r"```python\n(.*?)```", TEXTS["README.md"], re.DOTALL)


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


# --- code ------------------------------------------------------------------------------------
# The Python blocks themselves run by ../conftest.py.


def test_there_are_blocks():
    """A pattern that finds no blocks would pass every test of blocks."""
    assert len(README_PYTHON) == 5
    pages = ["choose-a-backend", "numerical-gradients", "save-and-resume", "own-activation"]
    assert all("```python" in TEXTS[f"{page}.md"] for page in pages)
    assert TEXTS["tutorial.md"].count("```{code-cell} python") > 15


def wheres():
    cells = re.findall(r"`(where = \{.*?\})`", TEXTS["README.md"])
    assert len(cells) == 5
    return ["where = {}", *cells]


def test_the_same_lines_on_every_backend(lib, capsys):
    """The README's one promise: change the third line, and it runs there."""
    block = README_PYTHON[0]
    assert block.split("\n")[2].startswith("where = {}")
    asked = {"xp": lib.kwargs["xp"], "device": lib.kwargs["device"]}
    given = [(line, ast.literal_eval(line.partition("= ")[2])) for line in wheres()]
    line = next(
        (line for line, where in given if {"xp": "numpy", "device": None, **where} == asked
         or (lib.name == "torch" and where == {"xp": "torch"})), None)  # fmt: skip
    if line is None or lib.readonly:
        pytest.skip("the README does not speak of this")
    fewer = block.replace("where = {}", line).replace("steps=1000", "steps=100")
    assert fewer != block
    exec(compile(fewer, "README", "exec"), {})
    assert "test accuracy: 0." in capsys.readouterr().out


def test_the_tabs_are_the_lines_of_the_readme():
    """The start page's tabs that differ by more than where."""
    tabs = re.findall(r"```python\n(.*?)```", TEXTS["index.md"], re.DOTALL)
    assert len(tabs) == 4
    plain = {re.sub(r"where = .*", "where", block) for block in (*tabs, README_PYTHON[0])}
    assert len(plain) == 1
    assert [re.search('"xp": "(.*?)"', tab) and re.search('"xp": "(.*?)"', tab).group(1)
            for tab in tabs] == [None, "cupy", "torch", "jax"]  # fmt: skip


def commands():
    """Every command of the documentation, with its page: of blocks, and of text in backticks."""
    for name, text in TEXTS.items():
        for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            if language == "sh":
                for line in block.splitlines():
                    yield from ((name, part.strip()) for part in line.split("&&"))
        known = "xpnet|nox|python|pytest"
        for found in re.findall(rf"`((?:{known}) [^`]+)`", without_code(text)):
            yield from ((name, part.strip()) for part in found.split("&&"))


COMMANDS = sorted(set(commands()))


def sessions():
    """The sessions of the noxfile, by name."""
    tree = ast.parse((HERE / "noxfile.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {f.name for f in functions if any("session" in ast.unparse(d) for d in f.decorator_list)}


def check_xpnet(words):
    assert not words or words[0] in cli.commands or words[0].startswith("-"), words
    command = cli.commands[words[0]] if words and words[0] in cli.commands else cli
    context = click.Context(command, info_name="xpnet")
    rest = words[1:] if command is not cli else words
    # Unknown options and wrong choices raise; nothing is run.
    values, _, order = command.make_parser(context).parse_args(rest)
    for parameter in order:
        if isinstance(parameter.type, click.Choice):
            parameter.type.convert(values[parameter.name], parameter, context)
    needed = [p for p in command.params if isinstance(p, click.Argument) and p.required]
    assert command is cli or all(values[p.name] is not None for p in needed)


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{p}: {c}" for p, c in COMMANDS])
def test_commands_exist(page, command, pytestconfig):
    """A command, an option, a session or a file that is no longer there."""
    program, *words = shlex.split(command)
    extras = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    if program == "xpnet":
        check_xpnet(words)
    elif program == "nox":
        asked = [word for word in words if not word.startswith("-")]
        assert {word.partition("(")[0] for word in asked} <= sessions(), asked
        assert {w for w in words if w.startswith("-")} <= {"-s", "-l", "--"}
    elif program == "pytest":
        for flag in (word for word in words if word.startswith("-")):
            pytestconfig.getoption(flag)  # an unknown one raises ValueError
        assert all((HERE / w).exists() for w in words if "/" in w)
    elif program == "torchrun":
        # Torch's own parser: an unknown option, or none of its values, ends the program.
        started = get_args_parser().parse_args(words)
        assert started.module is False or started.training_script == "xpnet", command
        if started.module:
            check_xpnet(started.training_script_args)
        else:  # a program that one of the page's blocks is
            assert f"saved as `{started.training_script}`" in TEXTS[page], command
    elif program == "python" and words[:2] == ["-m", "pip"]:
        assert words[2] == "install"
        for extra in re.findall(r"\[(.*?)\]", " ".join(words)):
            assert set(extra.split(",")) <= set(extras), extra
    elif program == "python":
        assert (HERE / words[0]).is_file(), words[0]
    else:
        assert program in ("pre-commit", "git"), f"nobody checks {program}"


def test_commands_are_checked_at_all(pytestconfig):
    """Checks that let everything pass."""
    wrong = [
        "xpnet train --no-such-option 1", "xpnet trian", "xpnet train --backend tensorflow",
        "nox -s no-such-session", 'python -m pip install ".[no-such-extra]"',
        "python examples/no_such.py", "no-such-program", "torchrun --no-such-option 2 train.py",
        "torchrun --nproc-per-node 2 no_such.py", "torchrun -m xpnet trian",
        "pytest --no-such-option", "pytest tests/no_such.py",
    ]  # fmt: skip
    for command in wrong:
        with pytest.raises((AssertionError, ValueError, click.ClickException, SystemExit)):
            test_commands_exist("README.md", command, pytestconfig)


def test_the_two_commands():
    """The commands that the README begins with are what others call."""
    for text in (TEXTS["README.md"], TEXTS["README.zh-CN.md"]):
        assert '```sh\npython -m pip install ".[cli]" && xpnet train\n```' in text
        assert "```sh\npython -m pip install nox && nox\n```" in text
    ci = (HERE / ".ci" / "run").read_text(encoding="utf-8")
    assert "python -m pip install nox && nox" in ci


def test_hooks_are_sessions():
    """A hook before the commit that checks something else than the session does."""
    text = (HERE / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entries = re.findall(r"entry: nox -s \"?(\w+)", text)
    assert len(entries) == text.count("entry:") == text.count("- id:")
    assert set(entries) <= sessions()
    defaults = (HERE / "noxfile.py").read_text(encoding="utf-8")
    assert '["lint", "typecheck"]' in defaults
    assert {"lint", "typecheck"} <= set(entries)


# --- links and figures -----------------------------------------------------------------------


def anchors(text):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    """A link to a file or a heading that is not there. Sphinx checks those of its own pages."""
    page = PAGES[NAMES.index(name)]
    text = without_code(TEXTS[name])
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.M)
    for target in targets:
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        if file.startswith("_generated/"):
            continue  # made by the build, which fails where one is missing
        there = page.parent / file if file else page
        assert there.exists(), f"{name} links to {target}"
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), f"{name}: {target}"
    names = set(re.findall(r"\]\[([^\]]+)\]", text))
    defined = set(re.findall(r"^\[([^\]]+)\]: ", text, re.MULTILINE))
    assert names == defined, f"{name}: links without an address, or addresses without a link"


FIGURE = re.compile(r"\d\s?(µs|ms|s|×(?!\s?\d)|%|MiB|GiB|GB|MB)(?![\w-])")
RESULT = re.compile(r"benchmarks/results/([\w./-]+\.json)")


def measured(text):
    """Sections (from heading to heading) that quote measurements, without their code."""
    for section in re.split(r"^#+ ", without_code(text), flags=re.MULTILINE):
        if FIGURE.search(section):
            yield section


@pytest.mark.parametrize("name", NAMES)
def test_figures_name_their_source(name):
    """A figure without a file that one can look it up in."""
    # The page of the benchmarks is written from the files that it names, once each.
    for section in [TEXTS[name]] if name == "benchmarks.md" else measured(TEXTS[name]):
        sources = RESULT.findall(section)
        assert sources, f"{name} quotes figures without a source: {section[:200]}"
    for source in RESULT.findall(TEXTS[name]):
        assert (HERE / "benchmarks" / "results" / source).is_file(), source


def test_figures_are_noticed():
    """A pattern that finds no figures."""
    assert len(list(measured(TEXTS["README.md"]))) == 1
    assert list(measured(TEXTS["numerical-gradients.md"]))
    assert list(measured("It takes 3.1 ms here."))
    assert not list(measured("A 3-layer net, 5 steps of 28 × 28 pixels."))


# --- what is said twice ----------------------------------------------------------------------


def outline(text):
    """What a translation must share: headings, code, lists, tables, links, names in code."""
    prose = without_code(text)
    return {
        "headings": [len(level) for level in re.findall(r"^(#+) ", prose, re.MULTILINE)],
        "blocks": [m.group(0) for m in re.finditer(r"^```.*?^```$", text, re.DOTALL | re.M)],
        "items": len(re.findall(r"^- ", prose, re.MULTILINE)),
        "tables": [row.count("|") for row in re.findall(r"^\|.*$", prose, re.MULTILINE)],
        "links": sorted(t for t in re.findall(r"\]\(([^)]+)\)", prose) if "README" not in t),
        "code": sorted(re.findall(r"(?<!`)`([^`]+)`(?!`)", " ".join(prose.split()))),
        "figures": sorted(re.findall(r"\d[\d.,]*\d", prose)),
    }


def test_the_readmes_are_kept_in_step():
    """A change of one README that the other has not followed."""
    english, chinese = outline(TEXTS["README.md"]), outline(TEXTS["README.zh-CN.md"])
    for part, found in english.items():
        assert chinese[part] == found, part


# --- what is promised ------------------------------------------------------------------------


def promised():
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXTS["promises.md"])


def test_promises_have_their_tests():
    """A promise whose test was renamed or taken away."""
    tests = promised()
    assert len(tests) > 20
    for file, name in tests:
        tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
        there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in there, f"{file} has no {name}"
    items = re.findall(r"^- .*?(?=^- |^$)", TEXTS["promises.md"], re.MULTILINE | re.DOTALL)
    assert len(items) > 20
    for promise in items:
        assert "`tests/" in promise, f"nothing holds: {promise}"


# --- what is there ---------------------------------------------------------------------------


def test_every_public_name_is_in_the_reference():
    """A public name that the API reference forgets."""
    listed = re.findall(r"^   ([\w.]+)$", TEXTS["api.md"], re.MULTILINE)
    assert len(listed) == len(set(listed))
    modules = {
        "functions": functions, "layers": xpnet.layers, "losses": losses, "optimizers": optimizers,
    }  # fmt: skip
    expected = {name for name in xpnet.__all__ if name not in (*modules, "__version__")}
    from xpnet import plots

    for module, namespace in {**modules, "plots": plots}.items():
        for name, value in vars(namespace).items():
            home = getattr(value, "__module__", None)
            own = f"{home}.".startswith(f"{namespace.__name__}.")
            own = own or (module, home) in (
                ("functions", "xpnet.activations"), ("losses", "xpnet.loss_changes"),
                ("optimizers", "xpnet.schedules"),
            )  # fmt: skip
            helper = name in (
                "floating_namespace", "index_rows", "new_figure", "figure_of", "title_of",
                "layer_of", "checked_weight_init", "checked_loss",
            )  # fmt: skip
            if own and callable(value) and not name.startswith("_") and not helper:
                expected.add(f"{module}.{name}")
    expected.discard("functions.Activation")  # listed as xpnet.Activation
    assert expected <= set(listed), expected - set(listed)
    for name in listed:
        thing = xpnet
        for part in name.split("."):
            thing = getattr(thing, part)
        assert thing.__doc__, name


def test_the_rooms_are_drawn(tmp_path):
    """The page on how it is built draws the rooms that the code has."""
    pytest.importorskip("matplotlib")
    code = (
        "import sys; sys.path.insert(0, 'docs'); import rooms, pathlib;"
        "rooms.write(pathlib.Path(sys.argv[1])); print(*rooms.wings());"
        "print(*sorted(rooms.imports()['network']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "new"], cwd=HERE, capture_output=True, text=True,
        check=True, timeout=120,
    )  # fmt: skip
    wings, imported = done.stdout.splitlines()
    package = HERE / "src" / "xpnet"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert set(wings.split()) == {"face", "arithmetic", "ground", *folders}
    assert {"backend", "arithmetic", "ground"} <= set(imported.split())
    table = (tmp_path / "new" / "rooms.md").read_text(encoding="utf-8")
    for path in package.rglob("*.py"):
        name = path.relative_to(package).as_posix()
        assert f"`{name}`" in table or name.endswith("/__init__.py"), name
    assert all(len(row.split("|")[2].strip()) > 10 for row in table.splitlines()[2:])
    assert "<svg" in (tmp_path / "new" / "rooms.svg").read_text(encoding="utf-8")


def test_the_table_of_trainings_is_that_of_their_histories():
    """A page that says something else than what was measured."""
    module = runpy.run_path(str(HERE / "benchmarks" / "trainings.py"))
    page = module["PAGE"].read_text(encoding="utf-8")
    assert module["written"](page) == page
    assert page.count("| `xpnet train --net ") == len([*module["RESULTS"].glob("*.json")])


def test_the_table_of_convolutions_is_that_of_their_measurement():
    """A page that says something else than what was measured."""
    module = runpy.run_path(str(HERE / "benchmarks" / "convolution.py"))
    page = module["PAGE"].read_text(encoding="utf-8")
    assert module["written"](page) == page
    assert page.count("| `torch-own` |") >= 2
