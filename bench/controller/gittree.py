"""A git repository of the user's, and worktrees of it that belong to a bisection.

Nothing here touches the user's own checkout, index or branches: a worktree has a HEAD and a bisection (refs/bisect) of
its own. Hooks of the repository are not run: they are meant for its user's own work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.errors import InputError, LabError, MissingError, last_lines

# What a hook, or `git bisect run`, says of a repository: a command in another one must not hear it. Most are those of
# `git rev-parse --local-env-vars`; the others name programs and folders of the git that runs.
OF_A_REPOSITORY = frozenset(
    {
        *(
            "GIT_ALTERNATE_OBJECT_DIRECTORIES",
            "GIT_COMMON_DIR",
            "GIT_CONFIG",
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_PARAMETERS",
        ),
        *("GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_INTERNAL_SUPER_PREFIX"),
        *("GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE"),
        *("GIT_WORK_TREE", "GIT_EXEC_PATH", "GIT_INTERNAL_GETTEXT_SH_SCHEME", "GIT_NAMESPACE", "GIT_QUARANTINE_PATH"),
    }
)
_QUIETLY = ("-c", f"core.hooksPath={os.devnull}", "-c", "advice.detachedHead=false")
BAD, GOODS = "refs/bisect/bad", "refs/bisect/good-*"


def without_repository(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which no variable says which repository is meant."""
    return {name: value for name, value in environment.items() if name not in OF_A_REPOSITORY}


def git_argv(folder: Path, *words: str) -> list[str]:
    """A git command in a folder."""
    return ["git", "-C", str(folder), *_QUIETLY, *words]


def asked(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What git answered, whatever its exit status. Raises MissingError without git."""
    try:
        return subprocess.run(
            git_argv(folder, *words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=without_repository(os.environ),
            check=False,
        )
    except FileNotFoundError as error:
        raise MissingError("git is not installed; install the package git") from error


def git(folder: Path, *words: str) -> str:
    """Its output. Raises LabError where it fails."""
    done = asked(folder, *words)
    if done.returncode != 0:
        what = f"git failed with exit status {done.returncode}"
        raise LabError("controller", what, git_argv(folder, *words), last_lines(done.stderr))
    return done.stdout.strip()


def top_of(repo: Path) -> Path:
    """The repository that a folder is in, absolute. Raises InputError where there is none."""
    done = asked(repo, "rev-parse", "--show-toplevel") if repo.is_dir() else None
    if done is None or done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [""])[0] if done else "it is no folder"
        raise InputError(f"--repo {repo}: no git checkout ({said}); name the folder of one, as in ~/src/linux")
    return Path(done.stdout.strip())


def commit_of(repo: Path, revision: str, option: str) -> str:
    """The whole name of a commit. Raises InputError for what names none."""
    done = asked(repo, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if done.returncode != 0:
        raise InputError(
            f"{option} {revision}: no such commit in {repo}; name a tag, a branch or a commit, as git log shows them"
        )
    return done.stdout.strip()


def check_order(repo: Path, good: str, bad: str) -> None:
    """Raises InputError where good does not come before bad."""
    if good == bad:
        raise InputError(f"--good, --bad: both are {good[:12]}; name a good commit before the bad one")
    if asked(repo, "merge-base", "--is-ancestor", good, bad).returncode != 0:
        turned = asked(repo, "merge-base", "--is-ancestor", bad, good).returncode == 0
        right = "they are the wrong way round" if turned else "name one from which the bad one came"
        raise InputError(f"--good: {good[:12]} is no ancestor of --bad {bad[:12]}; {right}")


def add_worktree(repo: Path, folder: Path, commit: str) -> None:
    """A checkout of its own, on no branch."""
    git(repo, "worktree", "add", "--detach", "--force", str(folder), commit)


def remove_worktree(repo: Path, folder: Path) -> None:
    """Whatever was built in it goes too. Nothing where there is none."""
    # git does not remove a worktree with submodules everywhere; a folder that is gone it forgets always.
    if asked(repo, "worktree", "remove", "--force", "--force", str(folder)).returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        asked(repo, "worktree", "prune")


def subject_of(repo: Path, commit: str) -> str:
    """The first line of a commit's message."""
    return git(repo, "show", "--no-patch", "--format=%s", commit)


def start(tree: Path, bad: str, good: str) -> None:
    """A bisection from its beginning; one that was under way in this worktree is forgotten."""
    asked(tree, "bisect", "reset")
    check_out(tree, bad)
    git(tree, "bisect", "start", bad, good)


def check_out(tree: Path, commit: str) -> None:
    """Its files as they were committed; what is not git's own stays as it was built."""
    git(tree, "checkout", "--detach", "--force", "--quiet", commit)


def clear(tree: Path) -> None:
    """Files that a build has changed are as they were committed, so that another commit can be checked out."""
    git(tree, "reset", "--hard", "--quiet")


def head(tree: Path) -> str:
    """The commit that is checked out."""
    return git(tree, "rev-parse", "HEAD")


def suspects(tree: Path) -> list[str]:
    """The commits of which one is the first bad one, by what was found so far, newest first."""
    return git(tree, "rev-list", "--topo-order", BAD, "--not", *refs(tree, GOODS)).split()


def refs(tree: Path, pattern: str) -> list[str]:
    """The commits that the bisection of this worktree has marked so."""
    return git(tree, "for-each-ref", "--format=%(objectname)", pattern).split()
