"""What `run` prints about the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.commands.network_report import network_report, open_doors
from lcm_daemon.commands.run import SERVE
from lcm_daemon.shows.audience import AudienceConfig
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show

LAN = ("192.168.1.7", "fd00::7")


def load(folder: Path, text: str) -> Show:
    file = folder / "show.yaml"
    file.write_text(f"recipe: passthrough\n{text}")
    return load_show(file, environment={})


def test_a_show_of_this_machine(tmp_path: Path) -> None:
    show = load(tmp_path, "osc: {port: 9000}\n")
    assert network_report(show, LAN, with_qr=True) == [
        "  page     http://127.0.0.1:8000         from this machine",
        "  screen   http://127.0.0.1:8000/output  the picture alone, for a browser on a projector",
        "  OSC      udp 127.0.0.1:9000            from this machine"]


def test_a_show_that_is_open(tmp_path: Path) -> None:
    show = load(tmp_path, "panel: {host: 0.0.0.0}\nosc: {host: 0.0.0.0, port: 9000}\noscquery: {host: 0.0.0.0}\n"
                          "network: {allow: [192.168.1.0/24], tls: auto}\nsinks: [{transport: ndi}]\n")
    lines = network_report(show, LAN, with_qr=True)
    words = [line.split("  from")[0].split("  the picture")[0].split() for line in lines]
    assert words[:8] == [
        ["page", "https://127.0.0.1:8000"], ["https://192.168.1.7:8000"],
        ["screen", "https://192.168.1.7:8000/output"], ["OSC", "udp", "127.0.0.1:9000"],
        ["udp", "192.168.1.7:9000"], ["OSCQuery", "http://127.0.0.1:9080"], ["http://192.168.1.7:9080"],
        ["open", "to", "the", "network:"]]
    assert lines[7] == "open to the network:"
    assert any("█" in line for line in lines[-10:])
    assert "█" not in "".join(network_report(show, LAN))
    assert "█" not in "".join(network_report(load(tmp_path, "panel: {host: 127.0.0.1}\n"), LAN, with_qr=True))


@pytest.mark.parametrize(("access", "says"), [
    ("{}", "page: everyone in the network plays; set network.access.pin"),
    ("{pin: 123456}", "page: others see the page and change nothing without the pin"),
    ("{pin: 123456, others: none}", "page: others see nothing without the pin"),
    ("{pin: 123456, others: play}", "page: everyone in the network plays, because network.access.others is play"),
])
def test_what_others_may_do(tmp_path: Path, access: str, says: str) -> None:
    doors = list(open_doors(load(tmp_path, f"panel: {{host: '::'}}\nosc: false\nnetwork: {{access: {access}}}\n")))
    assert doors[0] == says
    assert any(door.startswith("page: the pin crosses the network unencrypted") for door in doors) == ("pin" in access)


def test_osc_has_no_pin(tmp_path: Path) -> None:
    doors = list(open_doors(load(tmp_path, "osc: {host: 0.0.0.0}\n")))
    assert doors == ["OSC: everyone in the network may send; no pin can protect OSC over UDP, network.allow and "
                     "osc.allow name the senders"]


def test_visitors_have_their_own_address_and_its_code(tmp_path: Path) -> None:
    show = load(tmp_path, "osc: false\naudience: {host: 0.0.0.0, port: 9005}\n")
    lines = network_report(show, LAN, with_qr=True)
    assert [line.split()[:2] for line in lines[2:4]] == [
        ["visitors", "http://127.0.0.1:9005/join"], ["http://192.168.1.7:9005/join", "from"]]
    assert any("█" in line for line in lines)
    assert "visitors: everyone in the network may join and play in turn" in list(open_doors(show))
    closed = network_report(load(tmp_path, "osc: false\naudience: {port: 9005}\n"), LAN)
    assert closed[-1].endswith("from this machine; for phones, set audience.host to 0.0.0.0")
    show = load(tmp_path, "osc: false\naudience: {address: 'https://play.example.org'}\n")
    assert network_report(show, LAN)[-1].split()[:2] == ["visitors", "https://play.example.org"]


def test_serve_plays_a_show_for_visitors_alone(tmp_path: Path) -> None:
    """Keys of the show stay, and the command line wins."""
    load(tmp_path, "sinks: [{transport: record, path: out.mp4}]\naudience: {places: 3}\n")
    show = load_show(tmp_path / "show.yaml", [*SERVE, "audience.queue=7"], environment={})
    assert (show.sinks, show.audience) == ((), AudienceConfig(places=3, queue=7, share=0.0, wall="mosaic"))
    load(tmp_path, "name: plain\n")
    assert load_show(tmp_path / "show.yaml", SERVE, environment={}).audience == AudienceConfig(share=0.0, wall="mosaic")
