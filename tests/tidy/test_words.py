"""The project speaks of itself alone: no registry's host, no path of the machine it was made on."""

from __future__ import annotations

import re

import house

# written in pieces, so that this list does not find itself
HOSTS = ["pypi" + ".org", "python" + "hosted.org", "deb." + "debian.org", "registry.npm" + "js"]
PATHS = ["/" + "work" + "/", "/" + "root" + "/", "/tmp/" + "ks", "/tmp/" + "venv", "/opt/" + "pypi"]
HOMES = re.compile("/" + r"home/(?!user\b|you\b|alice\b|bob\b)[a-z]\w*/")
LOCK_OPTIONS = re.compile(r"^\s*--(?:extra-)?index-url|^\s*--find-links|^\s*--trusted-host", re.M)


def test_no_file_names_a_registry_host() -> None:
    wrong = [
        f"{house.shown(path)}: {host}"
        for path, text in house.tracked_texts()
        for host in HOSTS
        if host in text
    ]
    assert not wrong, "\n".join(wrong)


def test_no_file_names_a_path_of_the_machine_it_was_made_on() -> None:
    wrong = []
    for path, text in house.tracked_texts():
        for word in [word for word in PATHS if word in text] + HOMES.findall(text):
            wrong.append(f"{house.shown(path)}: {word}")
    assert not wrong, "\n".join(wrong)


def test_every_locked_package_has_hashes_and_no_index_is_named() -> None:
    lock = (house.ROOT / "requirements.lock").read_text()
    assert not LOCK_OPTIONS.search(lock)
    packages = re.split(r"^(?=[a-z0-9][\w.-]*==)", lock, flags=re.M | re.I)[1:]
    assert len(packages) > 10
    assert not [text.split()[0] for text in packages if "--hash=sha256:" not in text]


def test_every_dependency_of_the_project_is_locked() -> None:
    import tomllib

    project = tomllib.loads((house.ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=!~ ]", one)[0].lower() for one in wanted}
    locked = set(re.findall(r"^([\w.-]+)==", (house.ROOT / "requirements.lock").read_text(), re.M))
    assert names <= locked
