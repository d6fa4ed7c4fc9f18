-- Makes the cues of the show demo in the front workspace of QLab 5: in Script Editor, press the triangle.
--
-- First, in QLab: Workspace Settings > Network > Network Outputs: add a patch named "lcm", type "OSC message",
-- network UDP, destination 127.0.0.1, port 9000.
-- The script makes groups that you can move, copy from and delete. To make them again, delete the old ones first.

property patchName : "lcm"

on groupOf(theNumber, theName)
	tell application id "com.figure53.QLab.5" to tell front workspace
		if exists (cue theNumber) then error "Cue " & theNumber & " exists: delete the groups of an earlier run first."
		make type "Group"
		set theGroup to last item of (selected as list)
		set q number of theGroup to theNumber
		set q name of theGroup to theName
		return theGroup
	end tell
end groupOf

on addCue(theGroup, theName, theMessage)
	tell application id "com.figure53.QLab.5" to tell front workspace
		make type "Network"
		set theCue to last item of (selected as list)
		set network patch name of theCue to patchName
		set custom string of theCue to theMessage
		set q number of theCue to ""
		set q name of theCue to theName
		move cue id (uniqueID of theCue) of parent of theCue to end of theGroup
	end tell
end addCue


set theGroup to groupOf("lcm 1", "demo: prompts")
addCue(theGroup, "lava, glowing red", "/lcm/prompts/play 1.0")
addCue(theGroup, "stained glass, rainbow", "/lcm/prompts/play 2.0")
addCue(theGroup, "neon grid, purple", "/lcm/prompts/play 3.0")
addCue(theGroup, "crystal, turquoise", "/lcm/prompts/play 4.0")
addCue(theGroup, "bricks, gold", "/lcm/prompts/play 5.0")
addCue(theGroup, "forest, green", "/lcm/prompts/play 6.0")
addCue(theGroup, "zebra, black and white", "/lcm/prompts/play 7.0")
addCue(theGroup, "flowers, pink", "/lcm/prompts/play 8.0")
addCue(theGroup, "lightning, blue", "/lcm/prompts/play 9.0")

set theGroup to groupOf("lcm 2", "demo: recipes")
addCue(theGroup, "builtin", "/lcm/recipe \"builtin\"")
addCue(theGroup, "dreamshaper-8", "/lcm/recipe \"dreamshaper-8\"")
addCue(theGroup, "dreamshaper-xl-turbo", "/lcm/recipe \"dreamshaper-xl-turbo\"")
addCue(theGroup, "flux2-klein", "/lcm/recipe \"flux2-klein\"")
addCue(theGroup, "hyper-sd15", "/lcm/recipe \"hyper-sd15\"")
addCue(theGroup, "hyper-sdxl", "/lcm/recipe \"hyper-sdxl\"")
addCue(theGroup, "lcm-dreamshaper", "/lcm/recipe \"lcm-dreamshaper\"")
addCue(theGroup, "passthrough", "/lcm/recipe \"passthrough\"")
addCue(theGroup, "sana-sprint", "/lcm/recipe \"sana-sprint\"")
addCue(theGroup, "sana-sprint-1.6b", "/lcm/recipe \"sana-sprint-1.6b\"")
addCue(theGroup, "sd-turbo", "/lcm/recipe \"sd-turbo\"")
addCue(theGroup, "sd-turbo-canny", "/lcm/recipe \"sd-turbo-canny\"")
addCue(theGroup, "sd-turbo-depth", "/lcm/recipe \"sd-turbo-depth\"")
addCue(theGroup, "sd-turbo-normal", "/lcm/recipe \"sd-turbo-normal\"")
addCue(theGroup, "sd-turbo-pose", "/lcm/recipe \"sd-turbo-pose\"")
addCue(theGroup, "sd15-canny", "/lcm/recipe \"sd15-canny\"")
addCue(theGroup, "sd15-depth", "/lcm/recipe \"sd15-depth\"")
addCue(theGroup, "sd15-ip-adapter", "/lcm/recipe \"sd15-ip-adapter\"")
addCue(theGroup, "sd15-lcm", "/lcm/recipe \"sd15-lcm\"")
addCue(theGroup, "sd15-normal", "/lcm/recipe \"sd15-normal\"")
addCue(theGroup, "sd15-pcm", "/lcm/recipe \"sd15-pcm\"")
addCue(theGroup, "sd15-pose", "/lcm/recipe \"sd15-pose\"")
addCue(theGroup, "sd15-scribble", "/lcm/recipe \"sd15-scribble\"")
addCue(theGroup, "sd15-seg", "/lcm/recipe \"sd15-seg\"")
addCue(theGroup, "sd15-t2i-canny", "/lcm/recipe \"sd15-t2i-canny\"")
addCue(theGroup, "sd15-tcd", "/lcm/recipe \"sd15-tcd\"")
addCue(theGroup, "sd15-tile", "/lcm/recipe \"sd15-tile\"")
addCue(theGroup, "sdxl-canny", "/lcm/recipe \"sdxl-canny\"")
addCue(theGroup, "sdxl-depth", "/lcm/recipe \"sdxl-depth\"")
addCue(theGroup, "sdxl-dmd2", "/lcm/recipe \"sdxl-dmd2\"")
addCue(theGroup, "sdxl-ip-adapter", "/lcm/recipe \"sdxl-ip-adapter\"")
addCue(theGroup, "sdxl-lcm", "/lcm/recipe \"sdxl-lcm\"")
addCue(theGroup, "sdxl-lightning", "/lcm/recipe \"sdxl-lightning\"")
addCue(theGroup, "sdxl-lightning-4step", "/lcm/recipe \"sdxl-lightning-4step\"")
addCue(theGroup, "sdxl-pcm", "/lcm/recipe \"sdxl-pcm\"")
addCue(theGroup, "sdxl-pose", "/lcm/recipe \"sdxl-pose\"")
addCue(theGroup, "sdxl-t2i-canny", "/lcm/recipe \"sdxl-t2i-canny\"")
addCue(theGroup, "sdxl-t2i-sketch", "/lcm/recipe \"sdxl-t2i-sketch\"")
addCue(theGroup, "sdxl-tcd", "/lcm/recipe \"sdxl-tcd\"")
addCue(theGroup, "sdxl-turbo", "/lcm/recipe \"sdxl-turbo\"")
addCue(theGroup, "sdxl-union", "/lcm/recipe \"sdxl-union\"")
addCue(theGroup, "sdxl-union-promax", "/lcm/recipe \"sdxl-union-promax\"")
addCue(theGroup, "sdxs-512", "/lcm/recipe \"sdxs-512\"")
addCue(theGroup, "ssd-1b-lcm", "/lcm/recipe \"ssd-1b-lcm\"")
addCue(theGroup, "vega-rt", "/lcm/recipe \"vega-rt\"")
addCue(theGroup, "z-image-turbo", "/lcm/recipe \"z-image-turbo\"")

set theGroup to groupOf("lcm 3", "demo: commands")
addCue(theGroup, "Panic", "/lcm/panic")
addCue(theGroup, "Undo", "/lcm/undo")
addCue(theGroup, "Redo", "/lcm/redo")
addCue(theGroup, "Undo panic", "/lcm/undo_panic")
addCue(theGroup, "Cue go", "/lcm/cue/go")
addCue(theGroup, "Cue back", "/lcm/cue/back")
addCue(theGroup, "Cue pause", "/lcm/cue/pause")
addCue(theGroup, "Cue resume", "/lcm/cue/resume")
addCue(theGroup, "Cue stop", "/lcm/cue/stop")
addCue(theGroup, "Cue release", "/lcm/cue/release")
addCue(theGroup, "Tap", "/lcm/tap")
addCue(theGroup, "Record start", "/lcm/record/start")
addCue(theGroup, "Record stop", "/lcm/record/stop")
addCue(theGroup, "Engine restart", "/lcm/engine/restart")

set theGroup to groupOf("lcm 4", "demo: parameters")
addCue(theGroup, "Prompt", "/lcm/prompt \"ocean, blue\"")
addCue(theGroup, "Prompt b", "/lcm/prompt_b \"\"")
addCue(theGroup, "Blend", "/lcm/blend 0.0")
addCue(theGroup, "Negative prompt", "/lcm/negative_prompt \"\"")
addCue(theGroup, "Prompt glide", "/lcm/prompt_glide 0.0")
addCue(theGroup, "Strength", "/lcm/strength 0.5")
addCue(theGroup, "Mix", "/lcm/mix 1.0")
addCue(theGroup, "Feedback", "/lcm/feedback 0.0")
addCue(theGroup, "Smooth", "/lcm/smooth 0.0")
addCue(theGroup, "Steady", "/lcm/steady 0.0")
addCue(theGroup, "Inpaint", "/lcm/inpaint 0.0")
addCue(theGroup, "Seed", "/lcm/seed 0")
addCue(theGroup, "Seed lock", "/lcm/seed_lock 0")
addCue(theGroup, "Seed glide", "/lcm/seed_glide 0.0")
addCue(theGroup, "Noise", "/lcm/noise \"fixed\"")
addCue(theGroup, "Noise speed", "/lcm/noise_speed 0.2")
addCue(theGroup, "Mode", "/lcm/mode \"image\"")
addCue(theGroup, "Master", "/lcm/master 1.0")
addCue(theGroup, "Freeze", "/lcm/freeze 0")
addCue(theGroup, "Blackout", "/lcm/blackout 0")
addCue(theGroup, "Lora neon", "/lcm/lora/neon 0.0")
addCue(theGroup, "Lora ink", "/lcm/lora/ink 0.0")
addCue(theGroup, "Control edges weight", "/lcm/control/edges/weight 0.0")
addCue(theGroup, "Control edges start", "/lcm/control/edges/start 0.0")
addCue(theGroup, "Control edges end", "/lcm/control/edges/end 1.0")
addCue(theGroup, "Control edges interval", "/lcm/control/edges/interval 1")
addCue(theGroup, "Bpm", "/lcm/bpm 120.0")
addCue(theGroup, "Quantise", "/lcm/quantise \"off\"")
addCue(theGroup, "Steps", "/lcm/steps 2")
addCue(theGroup, "Guidance", "/lcm/guidance 1.0")
addCue(theGroup, "Similarity skip", "/lcm/similarity_skip 0.0")
addCue(theGroup, "Upscale", "/lcm/upscale 1")
addCue(theGroup, "Interpolate", "/lcm/interpolate 1")
addCue(theGroup, "Cue crossfade", "/lcm/cue/crossfade 0.0")
