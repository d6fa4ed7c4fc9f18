"""OBS Studio: a scene collection with the show's picture, by the page's /output and by NDI.

What OBS reads of it is in github.com/obsproject/obs-studio: frontend/importers/studio.cpp (Scene Collection → Import
takes a file with name, sources and current_scene), OBSBasic::LoadData in frontend/widgets/OBSBasic_SceneCollections.cpp
(version 2: places relative to the canvas), scene_load_item in libobs/obs-scene.c, and the settings of browser_source in
github.com/obsproject/obs-browser. NDI comes from the plugin DistroAV: ndi_source in its src/ndi-source.cpp.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.exports.surface import Surface

COLLECTION_VERSION = 2
OBS_VERSION = 31 << 24  # as LIBOBS_API_VER of 31.0.0
CANVAS = (1920, 1080)  # pixels; OBS fits the places into another canvas
FIT_INSIDE = 2  # OBS_BOUNDS_SCALE_INNER: as large as fits, with the picture's own aspect
TOP_LEFT = 5  # OBS_ALIGN_LEFT | OBS_ALIGN_TOP
NAMES = uuid.UUID("7b2f8f0e-5c3e-5c0b-9c69-1d6f0c9a4c11")  # namespace of the identifiers, which are the same each time
KEEP_LAST_FRAME = 2  # DistroAV's PROP_BEHAVIOR_STOP_RESUME_LAST_FRAME
PREFIX = "lcm "  # of the sources' names: "lcm page" is shown by the scene "lcm: page"
LOWEST_LATENCY = 2  # DistroAV's PROP_LATENCY_LOWEST
Data = dict[str, Any]


def build(surface: Surface) -> bytes:
    """The collection. Raises LcmDaemonError if the show has neither a page nor a sink that sends NDI."""
    pictures = {**_browser(surface), **_ndi(surface)}
    if not pictures:
        raise LcmDaemonError(f"show {surface.show}: OBS finds no picture: give the show `panel: {{port: 8000}}` or a "
                             f"sink {{transport: ndi, name: lcm}}")
    scenes = [_scene(surface, f"lcm: {name.removeprefix(PREFIX)}", name) for name in pictures]
    collection = {
        "name": f"lcm {surface.show}",
        "current_scene": scenes[0]["name"],
        "current_program_scene": scenes[0]["name"],
        "scene_order": [{"name": scene["name"]} for scene in scenes],
        "sources": [*(_source(surface, name, *picture) for name, picture in pictures.items()), *scenes],
        "groups": [],
        "transitions": [],
        "quick_transitions": _quick_transitions(),
        "current_transition": "Fade",
        "transition_duration": 300,
        "saved_projectors": [],
        "resolution": {"x": CANVAS[0], "y": CANVAS[1]},
        "version": COLLECTION_VERSION,
    }
    return (json.dumps(collection, indent=4, ensure_ascii=False) + "\n").encode()


def _browser(surface: Surface) -> Mapping[str, tuple[str, Data]]:
    if not surface.page_url:
        return {}
    width, height = surface.size
    settings = {
        "url": f"{surface.page_url}/output", "width": width, "height": height, "fps_custom": True,
        "fps": round(surface.fps), "reroute_audio": False, "shutdown": False, "restart_when_active": False}
    return {"lcm page": ("browser_source", settings)}


def _ndi(surface: Surface) -> Mapping[str, tuple[str, Data]]:
    sender = surface.output("ndi")
    if sender is None or not sender.name:
        return {}
    settings = {
        "ndi_source_name": f"{surface.machine} ({sender.name})", "ndi_behavior": KEEP_LAST_FRAME, "ndi_bw_mode": 0,
        "latency": LOWEST_LATENCY, "ndi_audio": False}
    return {"lcm NDI": ("ndi_source", settings)}


def _source(surface: Surface, name: str, kind: str, settings: Data) -> Data:
    """One entry of `sources`, as obs_save_source writes it."""
    return {
        "prev_ver": OBS_VERSION, "name": name, "uuid": _identifier(surface, name), "id": kind, "versioned_id": kind,
        "settings": settings, "mixers": 0, "sync": 0, "flags": 0, "volume": 1.0, "balance": 0.5, "enabled": True,
        "muted": False, "push-to-mute": False, "push-to-mute-delay": 0, "push-to-talk": False, "push-to-talk-delay": 0,
        "hotkeys": {}, "deinterlace_mode": 0, "deinterlace_field_order": 0, "monitoring_type": 0,
        "private_settings": {}}


def _scene(surface: Surface, name: str, shown: str) -> Data:
    """A scene with one source, fitted into the canvas."""
    return _source(surface, name, "scene", {
        "id_counter": 1, "custom_size": False, "items": [_item(surface, shown)]})


def _item(surface: Surface, shown: str) -> Data:
    width, height = map(float, CANVAS)
    aspect = width / height  # relative places: the height of the canvas is 2, its middle is 0
    return {
        "name": shown, "source_uuid": _identifier(surface, shown), "visible": True, "locked": False, "rot": 0.0,
        "align": TOP_LEFT, "bounds_type": FIT_INSIDE, "bounds_align": 0, "bounds_crop": False,
        "crop_left": 0, "crop_top": 0, "crop_right": 0, "crop_bottom": 0, "id": 1, "group_item_backup": False,
        "pos": {"x": 0.0, "y": 0.0}, "pos_rel": {"x": -aspect, "y": -1.0},
        "scale": {"x": 1.0, "y": 1.0}, "scale_rel": {"x": 1.0, "y": 1.0}, "scale_ref": {"x": width, "y": height},
        "bounds": {"x": width, "y": height}, "bounds_rel": {"x": 2 * aspect, "y": 2.0},
        "scale_filter": "disable", "blend_method": "default", "blend_type": "normal",
        "show_transition": {"duration": 0}, "hide_transition": {"duration": 0}, "private_settings": {}}


def _quick_transitions() -> list[Data]:
    """Those of a new collection of OBS."""
    return [{"name": name, "duration": 300, "hotkeys": [], "id": number, "fade_to_black": to_black}
            for number, (name, to_black) in enumerate((("Cut", False), ("Fade", False), ("Fade", True)), 1)]


def _identifier(surface: Surface, name: str) -> str:
    return str(uuid.uuid5(NAMES, f"{surface.show}/{name}"))
