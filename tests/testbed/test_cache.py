"""An installation is whole or absent, and can be interrupted anywhere."""

from pathlib import Path

import pytest

from tests.testbed import cache, components


def test_a_folder_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    destination = tmp_path / "thing"

    def interrupted(part: Path) -> None:
        (part / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.install(destination, interrupted)
    assert not destination.exists()

    cache.install(destination, lambda part: (part / "whole").write_text("x") and None)
    assert [each.name for each in destination.iterdir()] == ["whole"]


def test_what_a_killed_installation_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".thing.part-dead").mkdir(parents=True)
    cache.install(tmp_path / "thing", lambda part: None)
    assert [each.name for each in tmp_path.glob("*part*")] == []


def test_a_missing_component_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(cache.Missing, match=r"make testbed|no `java`"):
        components.KAFKA.find()


def test_without_java_kafka_names_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(cache.Missing, match="Java 17 or newer"):
        components.KAFKA.find()


def test_a_jar_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kafka_2.13-4.3.1.jar").write_bytes(b"something else")
    assert "kafka_2.13-4.3.1.jar" in components.KAFKA._wrong(tmp_path)
