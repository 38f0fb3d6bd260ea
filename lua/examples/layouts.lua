-- layouts.lua: does packing the first GEMM's weights pay? Times what a plan would use for both layouts of a layer.
--
--     moejit run lua/examples/layouts.lua [MODEL|PROBLEM [TP [TOKENS...]]]
--
-- Tune both first (`moejit tune ... --layout default`, then `--layout interleaved8`): what is not tuned is the estimate's
-- choice. The API is described in sweep.lua.

local name = arg[1] or "qwen3-30b-a3b"
local tp = assert(math.tointeger(tonumber(arg[2] or 1)), "TP must be a whole number")
local tokens = {}
for i = 3, #arg do
    tokens[#tokens + 1] = assert(math.tointeger(tonumber(arg[i])), "TOKENS must be whole numbers")
end
if #tokens == 0 then
    tokens = {1, 16, 64, 256, 1024}
end

local function layer(layout)
    if name:find("=", 1, true) then
        return moe.problem{text = name, layout = layout}
    end
    return moe.problem{model = name, tp = tp, layout = layout}
end

-- The time from x to activated rows, and what does it: one kernel where that is faster than two.
local function first_half(cell)
    local two = cell.gemm1 and cell.activation and cell.gemm1.time_us_median + cell.activation.time_us_median
    local one = cell.gemm1_act and cell.gemm1_act.time_us_median
    if one and (not two or one < two) then
        return one, "gemm1_act of " .. cell.gemm1_act.family
    end
    local only = cell.gemm1 and cell.gemm1.time_us_median
    return two or only, cell.gemm1 and "gemm1 of " .. cell.gemm1.family .. (two and " + activation" or "")
end

local results = {}
for _, layout in ipairs{"default", "interleaved8"} do
    results[layout] = moe.bench(layer(layout), {tokens = tokens, gemm = 1, quiet = true})
end
print(("%s\n%6s  %32s  %32s  packed / default"):format(layer("default"), "tokens", "default", "interleaved8"))
for _, m in ipairs(tokens) do
    local line, us = ("%6d"):format(m), {}
    for _, layout in ipairs{"default", "interleaved8"} do
        local best = results[layout].best[m]
        local time, what = first_half(best and best.uniform or {})
        us[#us + 1] = time
        line = line .. (time and ("  %8.1f us %s"):format(time, (" "):rep(20 - #what) .. what) or "  " .. ("-"):rep(32))
    end
    print(line .. (#us == 2 and ("  %.3f"):format(us[2] / us[1]) or ""))
end
