-- estimate.lua: how well the estimate ranks a family's configs, over twelve named cells.
--
--     moejit run tests/bench/estimate.lua [word=value...]
--         out=DIR       where estimate.json goes, and where an earlier run's is taken up from ($OUT, else .)
--         device=ID     the first usable one           family=NAME   wgmma; cpu on the cpu
--         limit=N       configs per cell, 1500         seconds=N     stop then, 0: never
--         cells=smoke   two tiny cells instead         force=1       measure again what estimate.json holds
--
-- Every config of a cell's space is verified and timed once; a larger space is cut to `limit` by a seeded draw, the same for all batch
-- sizes of a GEMM, so that they share its kernels. The estimate never sees a time. Reported per cell:
--     first      place, in the estimate's order, of the first config within 5 % of the best that was found
--     of 16      the best of the first 16, as a multiple of the best
--     tuned 20   the best of the 20 that `tune --effort quick` would take (most of them the best of their tile shape)
-- A run that was killed or stopped goes on where it was: whole cells from estimate.json, single configs from the journal.

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$") or "."
package.path = here .. "/?.lua;" .. package.path
local read_json = require("readme_tables").read_json

local words = { out = os.getenv("OUT") or ".", limit = "1500", seconds = "0", cells = "all" }
for _, word in ipairs(arg) do
    local name, value = word:match("^(%l+)=(.+)$")
    assert(name, "what is '" .. word .. "'? word=value is due; see the head of estimate.lua")
    words[name] = value
end
local limit, seconds = assert(tonumber(words.limit), "limit=N"), assert(tonumber(words.seconds), "seconds=N")
local PLACES, TUNED_PLACES, NEAR, FAR = 16, 20, 1.05, 1.3

-- fitted: the model's constants were fitted to timings of this cell (family_wgmma_time.c). The others it has not seen.
local mixtral, deepseek = { model = "mixtral-8x7b", tp = 2 }, { model = "deepseek-v3", tp = 8, scheme = "bf16" }
local qwen, gpt_oss = { model = "qwen3-30b-a3b" }, { model = "gpt-oss-120b", scheme = "bf16" }
local cells = {
    { "mixtral-8x7b-tp2 gemm1 M=1", mixtral, 1, 1, fitted = true },
    { "mixtral-8x7b-tp2 gemm1 M=64", mixtral, 1, 64, fitted = true },
    { "mixtral-8x7b-tp2 gemm1 M=1024", mixtral, 1, 1024, fitted = true },
    { "mixtral-8x7b-tp2 gemm2 M=16", mixtral, 2, 16, fitted = true },
    { "mixtral-8x7b-tp2 gemm2 M=256", mixtral, 2, 256, fitted = true },
    { "mixtral-8x7b-tp2 gemm2 M=4096", mixtral, 2, 4096, fitted = true },
    { "deepseek-v3-tp8 gemm1 M=4096", deepseek, 1, 4096, fitted = true },
    { "deepseek-v3-tp8 gemm2 M=4096", deepseek, 2, 4096, fitted = true },
    { "qwen3-30b-a3b-tp1 gemm1 M=64", qwen, 1, 64 },
    { "qwen3-30b-a3b-tp1 gemm2 M=1024", qwen, 2, 1024 },
    { "gpt-oss-120b-tp1 gemm1 M=256", gpt_oss, 1, 256 },
    { "mixtral-8x22b-tp4 gemm2 M=16", { model = "mixtral-8x22b", tp = 4, scheme = "bf16" }, 2, 16 },
}
if words.cells == "smoke" then
    local tiny = { experts = 4, top_k = 2, hidden = 128, intermediate = 128 }
    cells = { { "tiny gemm1 M=5", tiny, 1, 5, fitted = true }, { "tiny gemm2 M=3", tiny, 2, 3 } }
end

local device
for _, d in ipairs(moe.devices()) do
    if d.id == words.device or not words.device and d.usable then
        device = d
        break
    end
end
assert(device, "no device " .. (words.device or ""))
local family = words.family or (device.arch == "cpu" and "cpu" or "wgmma")

local function config_text(config)
    local parts = {}
    for name, value in pairs(config) do parts[#parts + 1] = name .. "=" .. math.tointeger(value) end
    table.sort(parts)
    return table.concat(parts, ",")
end

-- The texts of at most `limit` of the configs: a seeded shuffle, the same in every run.
local function draw(configs)
    local state, sample = 12345, {}
    for i = #configs, 2, -1 do
        state = (state * 6364136223846793005 + 1442695040888963407)
        local j = (state >> 33) % i + 1
        configs[i], configs[j] = configs[j], configs[i]
    end
    for i = 1, math.min(limit, #configs) do sample[config_text(configs[i])] = true end
    return sample
end

-- ---- One cell ----
local function measure(cell, left)
    local problem = moe.problem(cell[2])
    local space, gemm = moe.space(family), cell[3]
    local configs = space:configs(problem, { arch = device.arch, gemm = gemm })
    local legal = #configs
    if legal > limit then
        local sample = draw(configs)
        space:require("drawn", function(config) return sample[config_text(config)] end)
    end
    local options = { tokens = cell[4], gemm = gemm, device = device.id, effort = "full", candidates = true,
        save_dir = words.out .. "/estimate-store", budget = left, mem = words.cells == "smoke" and "64M" or nil }
    local result = moe.tune(space, problem, options)
    if #result.candidates == 0 and not result.budget_spent then -- in that store, but its times were never written down
        options.force = true
        result = moe.tune(space, problem, options)
    end
    return result, legal
end

-- One per config, in the estimate's order; a finalist's second time replaces its first.
local function by_estimate(candidates)
    local list, at = {}, {}
    for _, c in ipairs(candidates) do
        local text = config_text(c.config)
        at[text] = at[text] or #list + 1
        list[at[text]] = { config = text, estimate_us = c.estimate_us, us = c.time_us_median, result = c.result }
    end
    table.sort(list, function(a, b)
        if a.estimate_us ~= b.estimate_us then return a.estimate_us < b.estimate_us end
        return a.config < b.config
    end)
    return list
end

local function tile_of(config)
    local parts = {}
    for part in config:gmatch("tile_[^,]+") do parts[#parts + 1] = part end
    return table.concat(parts, ",")
end

-- As tuner/tune_plan.c picks: three fifths of the places to the best of each tile shape that is near.
local function tuned_order(list)
    local out, taken, tiles = {}, {}, {}
    for round = 1, 2 do
        local places = round == 1 and TUNED_PLACES - 2 * TUNED_PLACES // 5 or TUNED_PLACES
        for _, c in ipairs(list) do
            local wanted = round == 2 or not tiles[tile_of(c.config)] and c.estimate_us <= FAR * list[1].estimate_us
            if #out < places and not taken[c] and wanted then
                out[#out + 1], taken[c], tiles[tile_of(c.config)] = c, true, true
            end
        end
    end
    return out
end

local function best_of(list, count)
    local best = math.huge
    for i = 1, math.min(count, #list) do
        if list[i].us > 0 then best = math.min(best, list[i].us) end
    end
    return best
end

local function judge(cell, list, legal)
    local best, first, failed = best_of(list, #list), 0, 0
    for i, c in ipairs(list) do
        failed = failed + (c.us > 0 and 0 or 1)
        if first == 0 and c.us > 0 and c.us <= NEAR * best then first = i end
    end
    local function share(us) return us < math.huge and us / best or 0 end
    return { name = cell[1], fitted = cell.fitted or false, family = family, gemm = cell[3], tokens = cell[4], legal = legal,
        measured = #list, failed = failed, best_us = best, first_within = first, best_of_16 = share(best_of(list, PLACES)),
        tuned_20 = share(best_of(tuned_order(list), TUNED_PLACES)), candidates = list }
end

-- ---- All of them ----
local path = words.out .. "/estimate.json"
local done = {}
local earlier = io.open(path)
if earlier then
    earlier:close()
    local data = words.force ~= "1" and read_json(path) or { cells = {} }
    for _, cell in ipairs(data.cells) do
        if data.device.name == device.name and cell.family == family and data.limit == limit then done[cell.name] = cell end
    end
end

local function median(list)
    table.sort(list)
    return #list > 0 and (list[(#list + 1) // 2] + list[#list // 2 + 1]) / 2 or 0
end

local function summary()
    local out, firsts, shares, tuned = {}, {}, {}, {}
    for _, cell in ipairs(cells) do
        local c = done[cell[1]]
        if c then
            out[#out + 1], firsts[#firsts + 1] = c, c.first_within
            shares[#shares + 1], tuned[#tuned + 1] = c.best_of_16, c.tuned_20
        end
    end
    return { device = { name = device.name, arch = device.arch, driver = device.driver, compiler = device.compiler },
        moejit = moe.version, limit = limit, cells_wanted = #cells, cells = out,
        medians = { first_within = median(firsts), best_of_16 = median(shares), tuned_20 = median(tuned) } }
end

local started = os.time()
local resumed, stopped = 0, nil
for _, cell in ipairs(cells) do
    local left = seconds > 0 and seconds - (os.time() - started) or nil
    if left and left < 1 then
        stopped = "the time is up"
        break
    end
    if not done[cell[1]] then
        local good, result, legal = pcall(measure, cell, left)
        if not good then
            print(cell[1] .. ": " .. tostring(result))
        elseif result.interrupted or result.budget_spent then
            stopped = result.interrupted and "interrupted" or "the time is up"
            break
        else
            resumed = resumed + result.resumed
            done[cell[1]] = judge(cell, by_estimate(result.candidates), legal)
            moe.write(path, moe.json(summary()) .. "\n")
        end
    end
end

local data = summary()
print(("| %-30s | fitted | legal | measured | failed | best us | first | of 16 | tuned 20 |"):format(family .. " on " .. device.name))
print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
for _, c in ipairs(data.cells) do
    print(("| %-30s | %s | %d | %d | %d | %.1f | %d | %.3f | %.3f |"):format(c.name, c.fitted and "yes" or "no", c.legal, c.measured,
        c.failed, c.best_us, c.first_within, c.best_of_16, c.tuned_20))
end
print(("| %-30s | | | | | | %g | %.3f | %.3f |"):format("median", data.medians.first_within, data.medians.best_of_16,
    data.medians.tuned_20))
print(("%d of %d cells; %d measurements taken from the journal; %s"):format(#data.cells, #cells, resumed, path))
if stopped then print(stopped .. ": the same command goes on from here") end
if #data.cells < #cells then os.exit(stopped and 6 or 1, true) end
