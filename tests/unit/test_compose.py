from __future__ import annotations

import importlib.util
import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
EXAMPLE = dict(
    line.split("=", 1)
    for line in (ROOT / ".env.example").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
)
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")

each_service = pytest.mark.parametrize("name", SERVICES)
each_of_ours = pytest.mark.parametrize("name", OURS)


def test_services_are_those_of_the_main_job() -> None:
    assert set(SERVICES) == {"kafka", "topics", "worker", "service", "prometheus"}
    assert set(OURS) == {"topics", "worker", "service"}


@each_of_ours
def test_command_starts_something_that_exists(name: str) -> None:
    match OURS[name]["command"]:
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module) is not None
        case ["python", script, *_]:
            assert (ROOT / script).is_file()
        case [program, *_]:
            scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
            assert importlib.util.find_spec(scripts[program].partition(":")[0]) is not None
        case other:
            pytest.fail(f"{name} has no command in list form: {other}")


@each_of_ours
def test_our_containers_have_no_rights_they_do_not_need(name: str) -> None:
    service = OURS[name]
    assert service["user"].partition(":")[0] not in {"", "0", "root"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service


def test_image_runs_as_the_user_that_compose_names() -> None:
    (user,) = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)
    assert {service["user"] for service in OURS.values()} == {user}


@each_service
def test_what_keeps_running_is_started_again_and_watched(name: str) -> None:
    service = SERVICES[name]
    if name == "topics":
        assert service["restart"] == "no"
        return
    assert service["restart"] == "unless-stopped"
    # The example service listens nowhere: that its process runs is all there is to watch.
    assert ("test" in service["healthcheck"]) is (name != "service")


def test_worker_can_be_scaled() -> None:
    worker = SERVICES["worker"]
    assert not {"container_name", "hostname", "ports"} & set(worker)
    assert worker["expose"] == ["9600"]


def test_worker_starts_after_kafka_serves_and_the_topics_exist() -> None:
    assert SERVICES["worker"]["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}
    assert SERVICES["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}


@each_service
def test_host_ports_are_on_loopback_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@each_service
def test_image_has_a_version(name: str) -> None:
    tag = SERVICES[name]["image"].partition(":")[2]
    assert tag
    assert tag != "latest"


@each_service
def test_mounted_files_exist_and_named_volumes_are_declared(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, _, target = volume.partition(":")
        if source.startswith("."):
            assert (ROOT / source).is_file()
            assert target.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


def test_environment_example_has_every_variable_with_its_default() -> None:
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    assert len(re.findall(r"\$(?!\{\w+:-)", TEXT)) == 0, "a variable without a default"
    assert used == EXAMPLE


def test_configuration_takes_its_variables_from_the_worker() -> None:
    text = (ROOT / "deploy" / "tocsin.yml").read_text("utf-8")
    assert set(re.findall(r"\$\{(\w+)", text)) <= set(SERVICES["worker"]["environment"])


def test_alerts_need_no_token_to_be_seen() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "tocsin.yml").read_text("utf-8"))
    (receiver,) = [one for one in config["receivers"] if one["name"] == config["route"]["receiver"]]
    assert set(receiver) == {"name", "console_configs"}


def test_prometheus_finds_every_worker_where_it_listens() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "tocsin.yml").read_text("utf-8"))
    scrape = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text("utf-8"))
    (tocsin,) = [job for job in scrape["scrape_configs"] if job["job_name"] == "tocsin"]
    (discovery,) = tocsin["dns_sd_configs"]
    assert discovery["names"] == ["worker"]
    assert discovery["type"] == "A"
    port = config["web"]["port"]
    assert discovery["port"] == port
    assert f":{port}/healthz" in SERVICES["worker"]["healthcheck"]["test"][-1]
    assert f":{port}/healthz" in DOCKERFILE


def test_build_context_holds_what_the_image_copies() -> None:
    ignore = (ROOT / ".dockerignore").read_text("utf-8").split()
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    copied = set(itertools.chain.from_iterable(line.split()[:-1] for line in copies))
    assert "*" in ignore
    assert copied == allowed
    assert [name for name in sorted(copied) if not (ROOT / name).exists()] == []
