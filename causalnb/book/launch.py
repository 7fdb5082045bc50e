"""Where a chapter can be opened by who has nothing installed; nowhere as long as the book has no address."""

import re
from pathlib import Path

import yaml

from causalnb import runner

GITHUB = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?")


def links(root: Path, one: runner.Chapter, run: runner.Executed | None) -> dict[str, str]:
    """Names and addresses: Binder opens the chapter's text, Colab its published notebook `run`.

    root   the book, whose _config.yml may give its repository_url on GitHub, and a repository_branch
    """
    file = root / "_config.yml"
    config = (yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None) or {}
    theme = config.get("sphinx", {}).get("config", {}).get("html_theme_options", {})
    found = GITHUB.fullmatch(theme.get("repository_url") or "")
    if not found:
        return {}
    name, branch = found[1], theme.get("repository_branch") or "main"
    text = one.source.relative_to(root).as_posix()
    opened = {"Binder": f"https://mybinder.org/v2/gh/{name}/{branch}?urlpath=lab/tree/{text}"}
    if run is not None:
        notebook = run.notebook.relative_to(root).as_posix()
        opened["Colab"] = f"https://colab.research.google.com/github/{name}/blob/{branch}/{notebook}"
    return opened
