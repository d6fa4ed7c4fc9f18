"""What `doctor SHOW` and `pull --on-engines SHOW` do on the nodes of the Ray clusters that a show names.

The processes of these commands speak Ray themselves; the package is imported when a show needs it.
"""

from __future__ import annotations

from collections.abc import Iterator

from lcm_daemon.commands.arguments import find_recipes
from lcm_daemon.commands.output import PrintLine, print_line
from lcm_daemon.commands.pull import find_missing, pull_recipe
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.ray_cluster import RayCluster
from lcm_daemon.render.ray_nodes import describe_nodes, on_every_node
from lcm_daemon.shows.reader import load_show


def clusters_of(show: str) -> list[tuple[str, bool]]:
    """Address and token of each cluster that a show's `engines` name. Raises LcmDaemonError."""
    return list(dict.fromkeys((group.ray, group.token) for group in load_show(show).engines if group.ray))


def examine_nodes(show: str) -> Iterator[tuple[str, bool, str]]:
    """A row for each node: its name, whether it can run engines of this machine, and what it has or lacks."""
    try:
        clusters = clusters_of(show)
    except LcmDaemonError as error:
        yield "show", False, str(error).splitlines()[0]
        return
    for address, token in clusters:
        cluster = RayCluster(address, token)
        try:
            cluster.connect_once()
            for name, installed, problem in sorted(describe_nodes(cluster).values()):
                yield name, not problem, f"{problem}; {installed}" if problem else installed
        except LcmDaemonError as error:
            yield address, False, str(error)
        finally:
            cluster.close()


def pull_on_engines(show: str, offline: bool, print_line: PrintLine = print_line) -> int:
    """Download the files of a show's recipes on every node of its clusters, or with `offline` check them there.

    Returns:
        The exit code: 0 if all files are there, 1 if `offline` found that some are not.

    Raises:
        LcmDaemonError: The show names no cluster, a cluster cannot be used, or a node could not fetch its files.
    """
    clusters = clusters_of(show)
    if not clusters:
        raise LcmDaemonError(f"{show}: its engines are on this machine; lcm-daemon pull {show} fetches their files")
    recipes, codes = find_recipes(show), []
    for address, token in clusters:
        cluster = RayCluster(address, token)
        try:
            cluster.connect_once()
            codes += list(_pull_on(cluster, recipes, offline, print_line))
        finally:
            cluster.close()
    if failed := codes.count(2):
        raise LcmDaemonError(f"{failed} of {len(codes)} nodes have not all files")
    return max(codes, default=0)


def _pull_on(cluster: RayCluster, recipes: list[Recipe], offline: bool, print_line: PrintLine) -> Iterator[int]:
    """Yield each node's exit code; 2 is an error."""
    nodes = describe_nodes(cluster)
    if problems := [f"node {name} {problem}" for name, _, problem in nodes.values() if problem]:
        raise LcmDaemonError("; ".join(problems))
    names = {node: name for node, (name, _, _) in nodes.items()}
    print_line(f"{len(names)} node{'s' if len(names) > 1 else ''}: {', '.join(sorted(names.values()))}")
    for node, result in on_every_node(cluster, pull_here, recipes, offline):
        code, lines = (2, [str(result)]) if isinstance(result, Exception) else result
        for line in lines:
            print_line(f"node {names.get(node, node[:8])}: {' '.join(line.split())}")
        yield code


def pull_here(recipes: list[Recipe], offline: bool) -> tuple[int, list[str]]:
    """Runs on a node: download or check, and return the exit code with the lines to print."""
    lines: list[str] = []
    code = 0
    for recipe in recipes:
        try:
            if not offline:
                pull_recipe(recipe, lines.append)
            elif missing := find_missing(recipe):
                lines.append(f"{recipe.name}: {len(missing)} files are missing or damaged; fetch them with: lcm-daemon "
                             "pull --on-engines SHOW")
                code = max(code, 1)
            else:
                lines.append(f"{recipe.name}: complete")
        except LcmDaemonError as error:
            lines.append(str(error))
            code = 2
    return code, lines
