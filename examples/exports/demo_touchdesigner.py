# The component `lcm` for TouchDesigner 2022.24200 and later: pictures, parameters, cues of the show demo.
# Written by: lcm-daemon export touchdesigner
# 1. Put this text into a Text DAT (drag the file into a network). 2. Right-click the DAT, Run Script.
# The component appears beside the DAT. Run the script again after another export: nothing is doubled.
# To keep it: right-click the component `lcm`, Save Component .tox, choose a name.

SHOW = r'''{
 "show": "demo",
 "transport": "local",
 "file": "demo",
 "host": "127.0.0.1",
 "port": 9000,
 "query": "http://127.0.0.1:8000/parameters.json",
 "recipe": "builtin",
 "recipes": [
  "builtin",
  "dreamshaper-8",
  "dreamshaper-xl-turbo",
  "flux2-klein",
  "hyper-sd15",
  "hyper-sdxl",
  "lcm-dreamshaper",
  "passthrough",
  "sana-sprint",
  "sana-sprint-1.6b",
  "sd-turbo",
  "sd-turbo-canny",
  "sd-turbo-depth",
  "sd-turbo-normal",
  "sd-turbo-pose",
  "sd15-canny",
  "sd15-depth",
  "sd15-ip-adapter",
  "sd15-lcm",
  "sd15-normal",
  "sd15-pcm",
  "sd15-pose",
  "sd15-scribble",
  "sd15-seg",
  "sd15-t2i-canny",
  "sd15-tcd",
  "sd15-tile",
  "sdxl-canny",
  "sdxl-depth",
  "sdxl-dmd2",
  "sdxl-ip-adapter",
  "sdxl-lcm",
  "sdxl-lightning",
  "sdxl-lightning-4step",
  "sdxl-pcm",
  "sdxl-pose",
  "sdxl-t2i-canny",
  "sdxl-t2i-sketch",
  "sdxl-tcd",
  "sdxl-turbo",
  "sdxl-union",
  "sdxl-union-promax",
  "sdxs-512",
  "ssd-1b-lcm",
  "vega-rt",
  "z-image-turbo"
 ],
 "cues": [],
 "input": {
  "spout": "td",
  "syphon": "td",
  "ndi": "td"
 },
 "output": {
  "spout": "lcm",
  "syphon": "lcm",
  "ndi": "lcm"
 },
 "controls": [
  {
   "name": "prompt",
   "address": "/lcm/prompt",
   "type": "s",
   "kind": "text",
   "label": "Prompt",
   "help": "What to render; `ocean::0.7 lava::0.3` mixes prompts, `(word:1.3)` emphasizes a word.",
   "group": "Prompt",
   "value": "ocean, blue",
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "prompt_b",
   "address": "/lcm/prompt_b",
   "type": "s",
   "kind": "text",
   "label": "Prompt b",
   "help": "A second prompt, which `blend` fades to. No effect while blend is 0.",
   "group": "Prompt",
   "value": "",
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "blend",
   "address": "/lcm/blend",
   "type": "f",
   "kind": "fader",
   "label": "Blend",
   "help": "Fade from prompt (0) to prompt_b (1). No effect while prompt B is empty.",
   "group": "Prompt",
   "value": 0.0,
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "negative_prompt",
   "address": "/lcm/negative_prompt",
   "type": "s",
   "kind": "text",
   "label": "Negative prompt",
   "help": "What not to render; needs a model with guidance above 1. No effect while the recipe builtin plays, which takes no negative prompt. No effect while guidance is 1 or lower.",
   "group": "Prompt",
   "value": "",
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "prompt_glide",
   "address": "/lcm/prompt_glide",
   "type": "f",
   "kind": "fader",
   "label": "Prompt glide",
   "help": "Seconds that a new prompt takes to arrive.",
   "group": "Prompt",
   "value": 0.0,
   "low": 0.0,
   "high": 600.0,
   "choices": []
  },
  {
   "name": "strength",
   "address": "/lcm/strength",
   "type": "f",
   "kind": "fader",
   "label": "Strength",
   "help": "How much of the input is replaced: 0 keeps it, 1 ignores it. No effect while mode is not image.",
   "group": "Play",
   "value": 0.5,
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "mix",
   "address": "/lcm/mix",
   "type": "f",
   "kind": "fader",
   "label": "Mix",
   "help": "Fade from the input (0) to the rendered frame (1).",
   "group": "Play",
   "value": 1.0,
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "feedback",
   "address": "/lcm/feedback",
   "type": "f",
   "kind": "fader",
   "label": "Feedback",
   "help": "How much of the last output is mixed into the next input. No effect while mode is not image.",
   "group": "Play",
   "value": 0.0,
   "low": 0.0,
   "high": 0.95,
   "choices": []
  },
  {
   "name": "smooth",
   "address": "/lcm/smooth",
   "type": "f",
   "kind": "fader",
   "label": "Smooth",
   "help": "How much of the last latents is mixed into the next ones.",
   "group": "Play",
   "value": 0.0,
   "low": 0.0,
   "high": 0.95,
   "choices": []
  },
  {
   "name": "steady",
   "address": "/lcm/steady",
   "type": "f",
   "kind": "fader",
   "label": "Steady",
   "help": "How much the last output, moved as the input has moved, holds the next one steady; real changes show at once. No effect while mode is text.",
   "group": "Play",
   "value": 0.0,
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "inpaint",
   "address": "/lcm/inpaint",
   "type": "f",
   "kind": "fader",
   "label": "Inpaint",
   "help": "How much of the input stays where the guide is black; what it shows white is repainted. 0 repaints everything; without a guide nothing stays. No effect while mode is not image.",
   "group": "Play",
   "value": 0.0,
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "seed",
   "address": "/lcm/seed",
   "type": "i",
   "kind": "number",
   "label": "Seed",
   "help": "Number of the noise that a frame starts from; -1 draws one.",
   "group": "Play",
   "value": 0,
   "low": 0,
   "high": 2147483647.0,
   "choices": []
  },
  {
   "name": "seed_lock",
   "address": "/lcm/seed_lock",
   "type": "T",
   "kind": "toggle",
   "label": "Seed lock",
   "help": "Keep the seed: cues and looks do not change it.",
   "group": "Play",
   "value": false,
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "seed_glide",
   "address": "/lcm/seed_glide",
   "type": "f",
   "kind": "fader",
   "label": "Seed glide",
   "help": "Seconds that a new seed takes to arrive.",
   "group": "Play",
   "value": 0.0,
   "low": 0.0,
   "high": 600.0,
   "choices": []
  },
  {
   "name": "noise",
   "address": "/lcm/noise",
   "type": "s",
   "kind": "menu",
   "label": "Noise",
   "help": "The seed\u0027s noise stays the same, or walks on to the next seeds.",
   "group": "Play",
   "value": "fixed",
   "low": 0.0,
   "high": 1.0,
   "choices": [
    "fixed",
    "walking"
   ]
  },
  {
   "name": "noise_speed",
   "address": "/lcm/noise_speed",
   "type": "f",
   "kind": "fader",
   "label": "Noise speed",
   "help": "Seeds per second that walking noise passes. No effect while noise is fixed.",
   "group": "Play",
   "value": 0.2,
   "low": 0.0,
   "high": 10.0,
   "choices": []
  },
  {
   "name": "mode",
   "address": "/lcm/mode",
   "type": "s",
   "kind": "menu",
   "label": "Mode",
   "help": "Render from the input (image), from the prompt alone (text), or from the prompt and the input\u0027s shapes, if the recipe has a ControlNet (control).",
   "group": "Play",
   "value": "image",
   "low": 0.0,
   "high": 2.0,
   "choices": [
    "image",
    "text",
    "control"
   ]
  },
  {
   "name": "master",
   "address": "/lcm/master",
   "type": "f",
   "kind": "fader",
   "label": "Master",
   "help": "Brightness of the output: 1 is full, 0 is black.",
   "group": "Master",
   "value": 1.0,
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "freeze",
   "address": "/lcm/freeze",
   "type": "T",
   "kind": "toggle",
   "label": "Freeze",
   "help": "Hold the current output.",
   "group": "Master",
   "value": false,
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "blackout",
   "address": "/lcm/blackout",
   "type": "T",
   "kind": "toggle",
   "label": "Blackout",
   "help": "Show black, without a change of master. Cues and looks leave it as it is.",
   "group": "Master",
   "value": false,
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "lora/neon",
   "address": "/lcm/lora/neon",
   "type": "f",
   "kind": "fader",
   "label": "Lora neon",
   "help": "Weight of the LoRA neon.",
   "group": "LoRA",
   "value": 0.0,
   "low": -2.0,
   "high": 2.0,
   "choices": []
  },
  {
   "name": "lora/ink",
   "address": "/lcm/lora/ink",
   "type": "f",
   "kind": "fader",
   "label": "Lora ink",
   "help": "Weight of the LoRA ink.",
   "group": "LoRA",
   "value": 0.0,
   "low": -2.0,
   "high": 2.0,
   "choices": []
  },
  {
   "name": "control/edges/weight",
   "address": "/lcm/control/edges/weight",
   "type": "f",
   "kind": "fader",
   "label": "Control edges weight",
   "help": "How closely the ControlNet edges is followed. No effect while mode is text.",
   "group": "ControlNet",
   "value": 0.0,
   "low": 0.0,
   "high": 2.0,
   "choices": []
  },
  {
   "name": "control/edges/start",
   "address": "/lcm/control/edges/start",
   "type": "f",
   "kind": "fader",
   "label": "Control edges start",
   "help": "Share of the steps before edges takes effect. No effect while mode is text. No effect while control/edges/weight is 0.",
   "group": "ControlNet",
   "value": 0.0,
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "control/edges/end",
   "address": "/lcm/control/edges/end",
   "type": "f",
   "kind": "fader",
   "label": "Control edges end",
   "help": "Share of the steps after which edges is off. No effect while mode is text. No effect while control/edges/weight is 0.",
   "group": "ControlNet",
   "value": 1.0,
   "low": 0.0,
   "high": 1.0,
   "choices": []
  },
  {
   "name": "control/edges/interval",
   "address": "/lcm/control/edges/interval",
   "type": "i",
   "kind": "fader",
   "label": "Control edges interval",
   "help": "Frames between two runs of edges. No effect while mode is text. No effect while control/edges/weight is 0.",
   "group": "ControlNet",
   "value": 1,
   "low": 1,
   "high": 16,
   "choices": []
  },
  {
   "name": "bpm",
   "address": "/lcm/bpm",
   "type": "f",
   "kind": "fader",
   "label": "Bpm",
   "help": "Tempo: beats a minute.",
   "group": "Tempo",
   "value": 120.0,
   "low": 20.0,
   "high": 400.0,
   "choices": []
  },
  {
   "name": "quantise",
   "address": "/lcm/quantise",
   "type": "s",
   "kind": "menu",
   "label": "Quantise",
   "help": "Cues begin at once, or on the next beat, bar, 2 bars or 4 bars.",
   "group": "Tempo",
   "value": "off",
   "low": 0.0,
   "high": 4.0,
   "choices": [
    "off",
    "beat",
    "bar",
    "2 bars",
    "4 bars"
   ]
  },
  {
   "name": "steps",
   "address": "/lcm/steps",
   "type": "i",
   "kind": "fader",
   "label": "Steps",
   "help": "Denoising steps per frame: fewer are faster, more are cleaner.",
   "group": "Model",
   "value": 2,
   "low": 1,
   "high": 8,
   "choices": []
  },
  {
   "name": "guidance",
   "address": "/lcm/guidance",
   "type": "f",
   "kind": "fader",
   "label": "Guidance",
   "help": "How closely the prompt is followed, if the model supports it. No effect while the recipe builtin plays, whose guidance is part of its weights.",
   "group": "Model",
   "value": 1.0,
   "low": 0.0,
   "high": 20.0,
   "choices": []
  },
  {
   "name": "similarity_skip",
   "address": "/lcm/similarity_skip",
   "type": "f",
   "kind": "fader",
   "label": "Similarity skip",
   "help": "Skip rendering while the input differs less than this from the last rendered one (mean of 255 levels); 0 renders every frame. No effect while the noise walks.",
   "group": "Model",
   "value": 0.0,
   "low": 0.0,
   "high": 20.0,
   "choices": []
  },
  {
   "name": "upscale",
   "address": "/lcm/upscale",
   "type": "i",
   "kind": "fader",
   "label": "Upscale",
   "help": "How much a network enlarges the rendered picture before it is scaled to the output\u0027s size; 1 is off. Nothing happens while the output is not larger than the rendered picture.",
   "group": "Model",
   "value": 1,
   "low": 1,
   "high": 4,
   "choices": []
  },
  {
   "name": "interpolate",
   "address": "/lcm/interpolate",
   "type": "i",
   "kind": "fader",
   "label": "Interpolate",
   "help": "Pictures shown for each rendered one: those between two are made along the motion, as many as the output\u0027s rate has room for; 1 is off. With 2 the output is half a rendered frame later, with 4 three quarters.",
   "group": "Model",
   "value": 1,
   "low": 1,
   "high": 4,
   "choices": []
  },
  {
   "name": "cue/crossfade",
   "address": "/lcm/cue/crossfade",
   "type": "f",
   "kind": "fader",
   "label": "Cue crossfade",
   "help": "Fade by hand from the current look to the next cue. At its other end the cue is current, and the fader goes the other way.",
   "group": "Looks",
   "value": 0.0,
   "low": 0.0,
   "high": 1.0,
   "choices": []
  }
 ],
 "buttons": [
  {
   "label": "Panic",
   "address": "/lcm/panic",
   "arguments": [],
   "help": "Reset all parameters to the show\u0027s values, at once or over some seconds."
  },
  {
   "label": "Undo",
   "address": "/lcm/undo",
   "arguments": [],
   "help": "Take back the last move: of a parameter, a prompt, a look, or a panic."
  },
  {
   "label": "Redo",
   "address": "/lcm/redo",
   "arguments": [],
   "help": "Repeat the move that was undone last, if nothing else has been moved since."
  },
  {
   "label": "Undo panic",
   "address": "/lcm/undo_panic",
   "arguments": [],
   "help": "Take back the last panic, except for values that have been moved since."
  },
  {
   "label": "Cue go",
   "address": "/lcm/cue/go",
   "arguments": [],
   "help": "Start the next cue."
  },
  {
   "label": "Cue back",
   "address": "/lcm/cue/back",
   "arguments": [],
   "help": "Start the previous cue."
  },
  {
   "label": "Cue pause",
   "address": "/lcm/cue/pause",
   "arguments": [],
   "help": "Stop the fade where it is until it is resumed. A delay and an automatic GO wait too."
  },
  {
   "label": "Cue resume",
   "address": "/lcm/cue/resume",
   "arguments": [],
   "help": "Continue the fade that was paused."
  },
  {
   "label": "Cue stop",
   "address": "/lcm/cue/stop",
   "arguments": [],
   "help": "End the fade where it is. No cue that waits will start."
  },
  {
   "label": "Cue release",
   "address": "/lcm/cue/release",
   "arguments": [],
   "help": "Leave the cue list; the next GO starts the first cue."
  },
  {
   "label": "Tap",
   "address": "/lcm/tap",
   "arguments": [],
   "help": "Tap the tempo: each tap is a beat."
  },
  {
   "label": "Record start",
   "address": "/lcm/record/start",
   "arguments": [],
   "help": "Start a recording: each start is another file. Needs a sink with transport record."
  },
  {
   "label": "Record stop",
   "address": "/lcm/record/stop",
   "arguments": [],
   "help": "Stop the recording and close its file."
  },
  {
   "label": "Engine restart",
   "address": "/lcm/engine/restart",
   "arguments": [],
   "help": "Load a new engine beside the old one, and change to it once it renders."
  }
 ],
 "prompts": [
  {
   "label": "lava, glowing red",
   "address": "/lcm/prompts/play",
   "arguments": [
    1.0
   ],
   "help": "Set the prompt to one of the show\u0027s bank, `prompts`."
  },
  {
   "label": "stained glass, rainbow",
   "address": "/lcm/prompts/play",
   "arguments": [
    2.0
   ],
   "help": "Set the prompt to one of the show\u0027s bank, `prompts`."
  },
  {
   "label": "neon grid, purple",
   "address": "/lcm/prompts/play",
   "arguments": [
    3.0
   ],
   "help": "Set the prompt to one of the show\u0027s bank, `prompts`."
  },
  {
   "label": "crystal, turquoise",
   "address": "/lcm/prompts/play",
   "arguments": [
    4.0
   ],
   "help": "Set the prompt to one of the show\u0027s bank, `prompts`."
  },
  {
   "label": "bricks, gold",
   "address": "/lcm/prompts/play",
   "arguments": [
    5.0
   ],
   "help": "Set the prompt to one of the show\u0027s bank, `prompts`."
  },
  {
   "label": "forest, green",
   "address": "/lcm/prompts/play",
   "arguments": [
    6.0
   ],
   "help": "Set the prompt to one of the show\u0027s bank, `prompts`."
  },
  {
   "label": "zebra, black and white",
   "address": "/lcm/prompts/play",
   "arguments": [
    7.0
   ],
   "help": "Set the prompt to one of the show\u0027s bank, `prompts`."
  },
  {
   "label": "flowers, pink",
   "address": "/lcm/prompts/play",
   "arguments": [
    8.0
   ],
   "help": "Set the prompt to one of the show\u0027s bank, `prompts`."
  },
  {
   "label": "lightning, blue",
   "address": "/lcm/prompts/play",
   "arguments": [
    9.0
   ],
   "help": "Set the prompt to one of the show\u0027s bank, `prompts`."
  }
 ]
}'''

CODE = r"""# The module of the component `lcm`. Its callbacks call these functions; comp is the component.
# API: https://docs.derivative.ca/Python, of build 2022.24200 and later.

import json
import math
import os
import socket
import subprocess
import sys
import urllib.parse

SILENCE = 3.0  # seconds without a message after which the daemon counts as away; it sends its status twice a second
RENEW, LIFETIME = 30.0, 60  # seconds between two subscriptions, and for which the daemon keeps one
RETRY = 2.0  # seconds between two subscriptions while the daemon is away
REFRESH = 1.0  # seconds between two questions for the parameters
OWN_PAGE, CUE_PAGE, PROMPT_PAGE, BUTTON_PAGE = 'Daemon', 'Cues', 'Prompts', 'Buttons'
ROOT, STATUS = '/lcm/', '/lcm/status/'

# The operators inside, by name: type, position, and parameters. A parameter that begins with = is an expression.
OPERATORS = {
    'in1': ('inTOP', (-400, 300), {}),
    'send_local': ('syphonspoutoutTOP', (-200, 350), {
        'sendername': '=parent().par.Sendas', 'active': "=parent().par.Transport == 'local'"}),
    'send_ndi': ('ndioutTOP', (-200, 200), {
        'name': '=parent().par.Sendas', 'active': "=parent().par.Transport == 'ndi'"}),
    'receive_local': ('syphonspoutinTOP', (0, 350), {'sendername': '=parent().par.Receivefrom'}),
    'receive_ndi': ('ndiinTOP', (0, 200), {
        'name': '=parent().par.Receivefrom', 'active': "=parent().par.Transport == 'ndi'"}),
    'choose': ('switchTOP', (200, 300), {'index': '=parent().par.Transport.menuIndex'}),
    'out1': ('outTOP', (400, 300), {}),
    'osc_out': ('oscoutDAT', (-400, 0), {
        'address': '=parent().par.Host', 'port': '=parent().par.Port', 'active': True}),
    'osc_in_callbacks': ('textDAT', (0, -150), {}),
    'osc_in': ('oscinDAT', (-200, 0), {
        'port': '=parent().par.Receiveport', 'callbacks': 'osc_in_callbacks', 'active': True}),
    'web_callbacks': ('textDAT', (200, -150), {}),
    'web': ('webclientDAT', (0, 0), {'callbacks': 'web_callbacks', 'verifycert': False}),  # the daemon signs its own
    'parameters': ('parameterexecuteDAT', (-400, -150), {
        'op': '=parent()', 'pars': '*', 'valuechange': True, 'onpulse': True, 'custom': True, 'builtin': False,
        'active': True}),
    'clock': ('executeDAT', (-200, -150), {'framestart': True, 'active': True}),
    'status': ('tableDAT', (-400, -300), {}),
    'out2': ('outDAT', (-200, -300), {}),
    'numbers': ('tableDAT', (-400, -450), {}),
    'channels': ('dattoCHOP', (-200, -450), {
        'dat': 'numbers', 'output': 'chanperrow', 'firstrow': 'values', 'firstcolumn': 'names'}),
    'out3': ('outCHOP', (0, -450), {}),
}
WIRES = [('in1', 'send_local', 0), ('in1', 'send_ndi', 0), ('receive_local', 'choose', 0), ('receive_ndi', 'choose', 1),
         ('choose', 'out1', 0), ('status', 'out2', 0), ('channels', 'out3', 0)]
CALLBACKS = {
    'osc_in_callbacks': '''def onReceiveOSC(dat, rowIndex, message, bytes, timeStamp, address, args, peer):
    parent().op('code').module.receive(parent(), address, args)
''',
    'web_callbacks': '''def onResponse(webClientDAT, statusCode, headerDict, data, *rest):
    parent().op('code').module.answer(parent(), statusCode, data)
''',
    'parameters': '''def onValueChange(par, *rest):
    parent().op('code').module.changed(parent(), par)

def onPulse(par):
    parent().op('code').module.pulsed(parent(), par)
''',
    'clock': '''def onFrameStart(frame):
    parent().op('code').module.tick(parent(), absTime.seconds)
''',
}

_heard = {}  # value by address, as it was received or sent last: what is heard is not sent back
_times = {'heard': -math.inf, 'subscribe': -math.inf, 'refresh': -math.inf}
_unknown = set()  # addresses that are not parameters of the pages; one that is new asks for the parameters
_asks = {'refresh': False}  # whether the parameters will be asked for
# What each parameter and pulse is, see _names; the looks and the recipe that the daemon has named last.
_map = {'text': None, 'controls': {}, 'pulses': {}, 'cues': None, 'recipe': None}


# --- building ---

def build(comp):
    '''Build the operators and the pages, or bring them up to date. comp: the component.'''
    for name, (kind, place, _) in OPERATORS.items():
        operator = comp.op(name) or comp.create(kind, name)
        operator.nodeX, operator.nodeY = place
        if name in CALLBACKS:
            operator.text = CALLBACKS[name]
    _map['cues'] = None
    _build_pages(comp)
    for name, (_, _, settings) in OPERATORS.items():
        for key, value in settings.items():
            _set(getattr(comp.op(name).par, key), value)
    for source, target, place in WIRES:
        comp.op(target).inputConnectors[place].connect(comp.op(source))
    for table, head in (('status', ['name', 'value']), ('numbers', [])):
        comp.op(table).clear()
        if head:
            comp.op(table).appendRow(head)
    _times.update(heard=-math.inf, subscribe=-math.inf)


def _set(par, value):
    '''Set a parameter of an operator to a value or, after =, to an expression.'''
    if isinstance(value, str) and value.startswith('='):
        par.expr = value[1:]
    else:
        par.val = value


def _show(comp):
    return json.loads(comp.op('show').text)


def _build_pages(comp):
    '''Make the pages of the show. What is there stays as it is, with its value, expression or export.'''
    show = _show(comp)
    _build_own_page(comp, show)
    wanted = set(_own_names(comp))
    _map['text'] = None
    for name, control in _names(comp)['controls'].items():
        _build_control(comp, name, control)
        wanted.add(name)
    wanted |= _build_pulses(comp, show)
    before = comp.fetch('own_parameters', [], search=False)
    for name in [par.name for par in comp.customPars if par.name in before and par.name not in wanted]:
        comp.par[name].destroy()
    for name in [page.name for page in comp.customPages if not page.pars]:
        _page(comp, name).destroy()
    comp.store('own_parameters', sorted(wanted))
    first_pages = [OWN_PAGE, BUTTON_PAGE, CUE_PAGE, PROMPT_PAGE]
    names = [page.name for page in comp.customPages]
    comp.sortCustomPages(*[name for name in first_pages if name in names],
                         *[name for name in names if name not in first_pages])


def _page(comp, name):
    found = [page for page in comp.customPages if page.name == name]
    return found[0] if found else comp.appendCustomPage(name)


def _own_names(comp):
    return [par.name for page in comp.customPages if page.name == OWN_PAGE for par in page.pars]


def _parameter(comp, page, style, name, label, text):
    '''The custom parameter of a name and style on a page, and whether it was made now.'''
    par = {par.name: par for par in comp.customPars}.get(name)
    is_new = par is None or par.style != style or par.page.name != page
    if is_new:
        par = getattr(_page(comp, page), 'append' + style)(name, label=label)[0]
    par.label, par.help = label, text
    return par, is_new


def _build_own_page(comp, show):
    '''The page of the connection: pulses, addresses, names of the pictures, the recipe.'''
    def add(style, name, label, text, value=None, menu=None):
        par, is_new = _parameter(comp, OWN_PAGE, style, name, label, text)
        if menu is not None:
            par.menuNames, par.menuLabels = list(menu), list(menu.values() if isinstance(menu, dict) else menu)
        if style == 'Int':
            _range(par, 1, 65535)
        if value is not None:
            par.default = value
            if is_new:
                par.val = value
        return par

    add('Pulse', 'Connect', 'Connect', 'Ask the daemon for its values and its status, again.')
    add('Pulse', 'Startdaemon', 'Start daemon', 'Start the daemon with the show below, if it does not run.')
    add('Pulse', 'Refresh', 'Refresh', 'Read the parameters of the daemon again, as after a change of the recipe.')
    add('Pulse', 'Sendpicture', 'Send this picture', 'Make the input of the component the source of the show.')
    transport = add('Menu', 'Transport', 'Transport', 'How pictures go to the daemon and back. Between machines: NDI.',
                    show['transport'], {'local': 'Spout or Syphon', 'ndi': 'NDI'}).eval()
    comp.store('transport', transport)
    sent, received = _picture_names(show, transport)
    add('Str', 'Sendas', 'Send as', 'Name of the picture that is sent to the daemon.', sent)
    add('Str', 'Receivefrom', 'Receive from', 'Name of the picture that the daemon sends.', received)
    recipe = add('Menu', 'Recipe', 'Recipe', 'What the daemon renders. Another recipe is loaded, then faded in.',
                 show['recipe'], show['recipes'])
    _heard[ROOT + 'recipe'] = recipe.eval()
    add('Str', 'Host', 'Daemon address', 'The machine of the daemon.', show['host'])
    add('Int', 'Port', 'Daemon port', 'UDP port on which the daemon receives OSC.', show['port'])
    add('Int', 'Receiveport', 'Receive port', 'UDP port on which this component receives OSC.', show['port'] + 1)
    add('Str', 'Queryurl', 'Description', 'Where Refresh reads the parameters.', show['query'])
    add('Str', 'Show', 'Show', 'What Start daemon plays: a file in the folder of the project, or a name.', show['file'])
    add('Str', 'Command', 'Command', 'The program that Start daemon starts.', 'lcm-daemon')
    add('Toggle', 'Alive', 'Daemon is there', 'On while the daemon sends its status.').readOnly = True
    add('Str', 'State', 'State', 'What was done or refused last.').readOnly = True


def _range(par, low, high):
    par.min, par.max, par.normMin, par.normMax = low, high, low, high
    par.clampMin = par.clampMax = True


def _build_control(comp, name, control):
    '''The parameter of a control on the page of its group.'''
    style = {'menu': 'Menu', 'toggle': 'Toggle', 'text': 'Str'}.get(control['kind']) or (
        'Int' if control['type'] == 'i' else 'Float')
    par, is_new = _parameter(comp, control['group'] or 'Other', style, name, control['label'], control['help'])
    value = control['value']
    if style == 'Menu':
        par.menuNames, par.menuLabels = list(control['choices']), list(control['choices'])
    elif style in ('Int', 'Float'):
        _range(par, control['low'], control['high'])
        value = _fitting(control, value)
    par.default = value
    if is_new or (style == 'Menu' and par.eval() not in control['choices']):
        par.val = value
    _note(par, control)


def _fitting(control, value):
    '''A number within the range of a parameter: a seed of the daemon may be larger than one can be.'''
    return min(max(value, control['low']), control['high'])


def _note(par, control):
    '''Note the value of a parameter as heard: it is not sent to the daemon.'''
    _heard[control['address']] = _wire(control, par.eval())


def _wire(control, value):
    '''A value as OSC carries it.'''
    return int(value) if control['type'] in 'iT' else value


def _build_pulses(comp, show):
    '''One pulse for each button, cue and prompt. Return the names of their parameters.'''
    _map['pulses'] = {}
    names = show['cues'] if _map['cues'] is None else _map['cues']
    cues = [{'label': cue, 'address': ROOT + 'cue/goto', 'arguments': [cue]} for cue in names]
    for page_name, prefix, buttons in ((BUTTON_PAGE, 'Do', show['buttons']), (CUE_PAGE, 'Cue', cues),
                                       (PROMPT_PAGE, 'Prompt', show['prompts'])):
        for number, button in enumerate(buttons, 1):
            name = '%s%dpulse' % (prefix, number)
            _parameter(comp, page_name, 'Pulse', name, button['label'], button.get('help', ''))
            _map['pulses'][name] = button
    return set(_map['pulses'])


def _names(comp):
    '''The controls and the pulses by the names of their parameters. A name is one upper-case letter, then others.'''
    text = comp.op('show').text
    if _map['text'] != text:
        _map['text'], _map['controls'] = text, {}
        taken = set(_own_names(comp))
        for control in json.loads(text)['controls']:
            letters = ''.join(c for c in control['name'].lower() if c.isascii() and c.isalnum()) or 'p'
            plain = letters = letters if letters[0].isalpha() else 'p' + letters
            number = 1
            while letters.capitalize() in taken:
                number += 1
                letters = '%sx%d' % (plain, number)
            taken.add(letters.capitalize())
            _map['controls'][letters.capitalize()] = control
        if not _map['pulses']:
            _build_pulses(comp, json.loads(text))
    return _map


def _picture_names(show, transport):
    '''The names of the picture that is sent and of the one that is received, as the operators list them.'''
    if transport == 'ndi':
        return show['input']['ndi'], '%s (%s)' % (socket.gethostname().split('.')[0].upper(), show['output']['ndi'])
    if sys.platform == 'win32':
        return show['input']['spout'], show['output']['spout']
    return show['input']['syphon'], 'Python:' + show['output']['syphon']  # Application:Server


# --- to the daemon ---

def send(comp, address, arguments):
    '''Send an OSC message to the daemon.'''
    comp.op('osc_out').sendOSC(address, arguments)


def changed(comp, par):
    '''A parameter of the component has a new value: send it, unless it was heard from the daemon.'''
    name = par.name
    if name == 'Recipe':
        _send_new(comp, ROOT + 'recipe', par.eval())
    elif name == 'Transport':
        _use_transport(comp)
    elif name in _names(comp)['controls']:
        control = _map['controls'][name]
        _send_new(comp, control['address'], _wire(control, par.eval()))


def _send_new(comp, address, value):
    if not _same(_heard.get(address), value):
        _heard[address] = value
        send(comp, address, [value])


def _same(a, b):
    if isinstance(a, str) or isinstance(b, str) or a is None:
        return a == b
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-7)  # OSC carries 32 bits


def _use_transport(comp):
    '''Write the names of the pictures as the transport has them, if it is another one than before.'''
    transport = comp.par.Transport.eval()
    if transport != comp.fetch('transport', '', search=False):
        comp.store('transport', transport)
        comp.par.Sendas.val, comp.par.Receivefrom.val = _picture_names(_show(comp), transport)


def pulsed(comp, par):
    '''A pulse of the component was pressed.'''
    name = par.name
    if name == 'Connect':
        _start_over(comp)
        refresh(-math.inf)
    elif name == 'Refresh':
        refresh(-math.inf)
    elif name == 'Startdaemon':
        start_daemon(comp)
    elif name == 'Sendpicture':
        kind = {'ndi': 'ndi'}.get(comp.par.Transport.eval(), 'spout' if sys.platform == 'win32' else 'syphon')
        send(comp, ROOT + 'source', ['%s %s' % (kind, comp.par.Sendas.eval())])
    elif name in _names(comp)['pulses']:
        button = _map['pulses'][name]
        send(comp, button['address'], button['arguments'] or [1])


def _start_over(comp):
    '''Let the daemon send all values: it does so with a new subscription, which `tick` makes.'''
    send(comp, ROOT + 'unsubscribe', [int(comp.par.Receiveport)])
    _times['subscribe'] = -math.inf


def start_daemon(comp):
    '''Start the daemon in the project's folder, unless it is there.'''
    if absTime.seconds - _times['heard'] < SILENCE:
        comp.par.State.val = 'The daemon runs already.'
        return
    clean = {key: value for key, value in os.environ.items() if not key.startswith('PYTHON')}  # those of TouchDesigner
    own = {'creationflags': subprocess.CREATE_NEW_CONSOLE} if sys.platform == 'win32' else {'start_new_session': True}
    try:
        subprocess.Popen([comp.par.Command.eval(), 'run', comp.par.Show.eval()], cwd=project.folder, env=clean, **own)
        comp.par.State.val = 'The daemon starts.'
    except OSError as error:
        comp.par.State.val = '%s cannot be started: %s' % (comp.par.Command.eval(), error.strerror)


# --- from the daemon ---

def tick(comp, now):
    '''Once a frame: renew the subscription, see whether the daemon is there, ask what is to be asked. now: seconds.'''
    is_there = now - _times['heard'] < SILENCE
    if bool(comp.par.Alive) != is_there:
        comp.par.Alive.val = is_there
        if is_there:
            refresh()  # it may play another show than before
    if now - _times['subscribe'] >= (RENEW if is_there else RETRY):
        _times['subscribe'] = now
        send(comp, ROOT + 'subscribe', [int(comp.par.Receiveport), LIFETIME])
    if _asks['refresh'] and now - _times['refresh'] >= REFRESH:
        _times['refresh'] = now
        _ask(comp)


def receive(comp, address, arguments):
    '''A message has come from the daemon.'''
    _times['heard'] = absTime.seconds
    if not arguments:
        return
    value = arguments[0]
    if address.startswith(STATUS):
        _receive_status(comp, address[len(STATUS):], value)
    elif address == ROOT + 'error':
        comp.par.State.val = ' '.join(map(str, arguments))
    else:
        names = [name for name, control in _names(comp)['controls'].items() if control['address'] == address]
        if names:
            _receive_value(comp, comp.par[names[0]], _map['controls'][names[0]], value)
        elif address.startswith(ROOT) and address not in _unknown:  # a parameter of another recipe
            _unknown.add(address)
            refresh()


def _receive_value(comp, par, control, value):
    if par.mode != ParMode.CONSTANT:  # an expression or an export leads, and setting the value would end it
        _heard[control['address']] = _wire(control, value)
        changed(comp, par)
        return
    if control['kind'] not in ('text', 'menu', 'toggle'):
        value = _fitting(control, value)
    par.val = value
    _note(par, control)


def _receive_status(comp, name, value):
    if name.startswith('live/'):
        return
    _put(comp.op('status'), name, int(value) if isinstance(value, bool) else value)
    if isinstance(value, (bool, int, float)):
        _put(comp.op('numbers'), name, float(value))
    if name == 'recipe':
        if value in comp.par.Recipe.menuNames and value != comp.par.Recipe.eval():
            _heard[ROOT + 'recipe'] = value
            comp.par.Recipe.val = value
        if value != _map['recipe']:  # also one that was chosen here
            _map['recipe'] = value
            refresh()
    elif name == 'cues':
        cues, before = [cue for cue in str(value).split('\n') if cue], _map['cues']
        _map['cues'] = cues
        if cues != (_show(comp)['cues'] if before is None else before):
            _build_pages(comp)


def _put(table, name, value):
    '''Put a row with a name and a value into a table, in place of the one of this name.'''
    if table.row(name) is None:
        table.appendRow([name, value])
    else:
        table.replaceRow(name, [name, value])


def refresh(last=None):
    '''Let `tick` ask the daemon for its parameters; `answer` gets them. last: when they were asked for, if known.'''
    _asks['refresh'] = True
    if last is not None:
        _times['refresh'] = last


def _ask(comp):
    _asks['refresh'] = False
    url = urllib.parse.urlsplit(comp.par.Queryurl.eval())
    if url.netloc:
        place, host, own = url.netloc, comp.par.Host.eval(), _show(comp)['host']
        if host != own:  # the daemon is on another machine than the script says
            place = ('[%s]' if ':' in host else '%s') % host + (':%s' % url.port if url.port else '')
        comp.op('web').request(urllib.parse.urlunsplit((url.scheme, place, url.path, url.query, '')), 'GET')
    else:
        comp.par.State.val = 'The parameters cannot be read: the show has neither a page nor oscquery.'


def answer(comp, status, data):
    '''The parameters have come: build the pages of those.'''
    code = status['code'] if isinstance(status, dict) else status
    if int(code) != 200:
        comp.par.State.val = 'The parameters cannot be read: the daemon answers %s.' % code
        return
    try:
        found = json.loads(data.decode() if isinstance(data, (bytes, bytearray)) else data)
        controls = _of_page(found) if 'parameters' in found else list(_of_query(found))
    except (ValueError, KeyError, TypeError, AttributeError):
        comp.par.State.val = 'The parameters cannot be read: %s does not describe them.' % comp.par.Queryurl.eval()
        return
    show = _show(comp)
    if controls and list(map(_shape, controls)) != list(map(_shape, show['controls'])):
        comp.op('show').text = json.dumps({**show, 'controls': controls})
        _build_pages(comp)
        _unknown.clear()
        _start_over(comp)


def _shape(control):
    '''What makes a control another one.'''
    return [control[key] for key in ('name', 'type', 'low', 'high', 'choices', 'group')]


def _of_query(node):
    '''The controls in a node of OSCQuery, https://github.com/Vidvox/OSCQueryProposal.'''
    for inner in node.get('CONTENTS', {}).values():
        yield from _of_query(inner)
    if node.get('ACCESS') != 3 or 'alias' in node.get('TAGS', []):
        return
    kind, span = node['TYPE'], node.get('RANGE', [{}])[0]
    yield _control(node['FULL_PATH'][len(ROOT):], kind, node['VALUE'][0], span.get('VALS'), span.get('MIN'),
                   span.get('MAX'), node.get('DESCRIPTION', ''), node.get('TAGS', [''])[0])


def _of_page(found):
    '''The controls in /parameters.json of the page.'''
    types = {'float': 'f', 'int': 'i', 'bool': 'T', 'text': 's', 'choice': 's'}
    return [_control(each['name'], types[each['kind']], each['default'], each['choices'], each['low'], each['high'],
                     each['help'], each['group']) for each in found['parameters']]


def _control(name, kind, value, choices, low, high, text, group):
    words = name.replace('/', ' ').replace('_', ' ')
    shown = 'menu' if choices else {'T': 'toggle', 'F': 'toggle', 's': 'text'}.get(kind, 'number')
    low, high = (0 if low is None else low), (1 if high is None else min(high, 2**31 - 1))
    return {'name': name, 'address': ROOT + name, 'type': 'T' if shown == 'toggle' else kind, 'kind': shown,
            'label': words[:1].upper() + words[1:], 'help': text, 'group': group, 'value': value,
            'low': low, 'high': high, 'choices': list(choices or [])}
"""

home = me.parent()
lcm = home.op('lcm')
if lcm is None:
    lcm = home.create('baseCOMP', 'lcm')
    lcm.nodeX, lcm.nodeY = me.nodeX + 200, me.nodeY
for name, text, place in (('code', CODE, 0), ('show', SHOW, 150)):
    dat = lcm.op(name) or lcm.create('textDAT', name)
    dat.text = text
    dat.nodeX, dat.nodeY = -600, place
lcm.op('code').module.build(lcm)
