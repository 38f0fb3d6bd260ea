-- sweep.lua: tune one layer over a space of your own.
--
--     moejit run lua/examples/sweep.lua [MODEL [TOKENS...]]
--
-- Writes sweep-result.json, and a store of its own, sweep-store/, into $OUT or the current folder: your own results stay as they are.
-- Without save_dir, moe.tune writes to your store, which plans are taken from.
--
-- A sweep script is ordinary Lua 5.4 with all its libraries and one more global, `moe`. The words after the file name
-- are in `arg` and `...`. An error stops the script with one line, "file:line: what", and a documented exit code.
--
-- moe.problem{model = "mixtral-8x7b", tp = 2, ep = 1, scheme = "auto", layout = "default"}
--     A layer on one rank. model: a built-in name, a Hugging Face id, or the path of a config.json (model_prefix = KEY).
--     Instead of model: experts, top_k, hidden, intermediate, and gated = true, bias = false, activation = "silu";
--     or text = "E=8/8,topk=2,...", without scheme, tp and ep. layout: how the first GEMM's weights lie, "default" or
--     "interleaved8"; it wins over the text's. Fields can be read back: p.experts, p.experts_total, p.top_k, p.hidden,
--     p.intermediate (on this rank), p.scheme, p.layout, p.label; tostring(p) is the canonical text.
-- moe.space("mma") or moe.space{family = "mma", tile_m = {16, 32}, stages = 4}
--     What may be tried: the family's own values where a name is left out. Methods:
--     space:require(name, function(config, op) ... end)   keep only configs for which it returns true
--     space:explain(problem, {arch = "sm_90a", gemm = 1})  -> {candidates = n, legal = n, refused = {[rule] = n}}
--     space:configs(problem, {arch = "sm_90a", gemm = 1})  -> list of legal configs
-- moe.tune(space or nil, problem, options) -> result       verify, time and choose; finished rows go to the store
-- moe.bench(problem, options) -> result                    time what a plan would use now (or options.config)
-- moe.verify(problem, options) -> result                   compare with the reference, no timing
--     options: tokens = 16 or {1, 16, 64}; routing = "uniform", a list or "all"; seed = 0; device = "best";
--     effort = "quick" | "full" | "estimate"; budget = "5m" or seconds; mem = "16G" or bytes; force = false;
--     gemm = 1 | 2 (what stands in for it too); jobs = n; save_dir = path; family = name, config = {tile_m = 16, ...} (bench, verify);
--     quiet = false; against = family to time beside (bench); arch = "gfx1100" instead of a device (effort "estimate");
--     candidates = true; fused = false (only the plain ops: no gemm1_act, no gemm2_combine)
--     result: rows = list of {tokens, routing, op, family, config, time_us_median, time_us_spread, floor_us, roofline,
--     tflops, padded_tflops, row_error, against, gbps, tried, refused, failed, failed_by_reason, verified, origin, result, detail, ...};
--     candidates = list of {tokens, routing, op, family, config, result, estimate_us, time_us_median, time_us_spread, samples,
--     compile_seconds}, if asked for: all that this call measured or found in the journal, the finalists a second time;
--     best[tokens][routing][op] = row; device, ceilings, store, saved, interrupted, budget_spent, seconds; not_saved = why
--     finished rows could not be written (the script goes on, and the exit code says so);
--     text (the printed report) and json (the same as JSON text).
--     Methods: result:print(), result:save(path) (JSON, written whole or not at all).
-- moe.gen(problem, {arch, gemm | op, family, config, tokens}) -> source text, manifest
-- moe.why(problem, {arch, gemm | op, family, config, tokens}) -> legal, list of {rule, reason, measured, limit}
-- moe.routing(problem, {routing, tokens, seed}) -> {rows = list by expert, active, dead, local_rows}
-- moe.devices(), moe.models() -> lists of tables           moe.version -> "0.1.0"
-- moe.write(path, text)      writes a file whole or not at all, folders made as needed
-- moe.json(value)            a table, string, number or boolean as JSON text, keys sorted
--
-- An unknown key is an error that names the nearest one. After Ctrl-C a running tune returns what it has, with
-- interrupted = true; the next one refuses to start.

local model = arg[1] or "olmoe-1b-7b"
local tokens = {}
for i = 2, #arg do
    tokens[#tokens + 1] = assert(math.tointeger(tonumber(arg[i])), "TOKENS must be whole numbers")
end
if #tokens == 0 then
    tokens = {1, 16}
end

local problem = moe.problem{model = model}

-- The best usable device: the first one without a note.
local device
for _, d in ipairs(moe.devices()) do
    if d.usable then
        device = d
        break
    end
end
assert(device, "no usable device: see moejit devices")

-- The family that is made for its matrix instructions.
local function family_of(arch)
    if arch == "cpu" then
        return "cpu"
    elseif arch:find("^gfx") then
        return arch:find("^gfx9") and "mfma" or "wmma"
    end
    return arch == "sm_90a" and "wgmma" or "mma"
end
local family = family_of(device.arch)
print(("%s on %s (%s), family %s"):format(problem, device.name, device.id, family))

-- A space of our own: all of the family's configs with small row tiles.
local space = moe.space(family)
space:require("small row tiles", function(config)
    return config.tile_m == nil or config.tile_m <= 64
end)
local counts = space:explain(problem, {arch = device.arch})
print(("%d of %d configs are legal for gemm1"):format(counts.legal, counts.candidates))

local out = os.getenv("OUT") or "."
local result = moe.tune(space, problem, {
    tokens = tokens, device = device.id, effort = "quick", budget = "3m", save_dir = out .. "/sweep-store",
})
result:print()
for _, m in ipairs(tokens) do
    local cell = result.best[m] and result.best[m].uniform
    if cell and cell.gemm1 and cell.gemm2 then
        print(("%5d tokens: %.1f us for both GEMMs"):format(m, cell.gemm1.time_us_median + cell.gemm2.time_us_median))
    end
end
result:save(out .. "/sweep-result.json")
