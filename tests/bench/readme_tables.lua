-- readme_tables.lua: the tables of results in README.md and tests/bench/results/README.md, made from the committed raw JSON.
--   lua5.4 tests/bench/readme_tables.lua           rewrites both
--   lua5.4 tests/bench/readme_tables.lua --check   fails where one is not what the JSON says
-- A table stands between two lines:  <!-- table: NAME.json -->  or  <!-- summary: NAME.json -->  and  <!-- end -->
-- `table` has every row with all that was measured; `summary` a line per layer, op and format, or per batch size of a tune.
-- NAME.json lies in tests/bench/results/: the output of `moejit tune|bench --json`, or of tests/bench/peers.py.

local tables = { pages = { "README.md", "tests/bench/results/README.md" } }

-- ---- JSON, read only ----
local escapes = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }
local read_value

local function skip(text, at)
    return text:find("[^ \t\r\n]", at) or #text + 1
end

local function read_string(text, at)
    local out = {}
    while true do
        local stop = text:find('["\\]', at) or error("a string without an end")
        out[#out + 1] = text:sub(at, stop - 1)
        if text:sub(stop, stop) == '"' then return table.concat(out), stop + 1 end
        local code = text:sub(stop + 1, stop + 1)
        if code == "u" then
            out[#out + 1] = utf8.char(tonumber(text:sub(stop + 2, stop + 5), 16))
            at = stop + 6
        else
            out[#out + 1] = escapes[code] or code
            at = stop + 2
        end
    end
end

local function read_sequence(text, at, close, read_item)
    at = skip(text, at)
    if text:sub(at, at) == close then return at + 1 end
    while true do
        at = skip(text, read_item(skip(text, at)))
        local mark = text:sub(at, at)
        at = at + 1
        if mark == close then return at end
        if mark ~= "," then error("byte " .. at .. ": expected , or " .. close) end
    end
end

local function read_object(text, at)
    local out = {}
    at = read_sequence(text, at, "}", function(from)
        local key, value
        key, from = read_string(text, from + 1)
        from = skip(text, from)
        value, from = read_value(text, skip(text, from + 1))
        out[key] = value
        return from
    end)
    return out, at
end

local function read_array(text, at)
    local out = {}
    at = read_sequence(text, at, "]", function(from)
        local value
        value, from = read_value(text, from)
        out[#out + 1] = value
        return from
    end)
    return out, at
end

function read_value(text, at)
    local first = text:sub(at, at)
    if first == "{" then return read_object(text, at + 1) end
    if first == "[" then return read_array(text, at + 1) end
    if first == '"' then return read_string(text, at + 1) end
    local word = text:match("^[%w+.%-]+", at) or error("byte " .. at .. ": no value")
    local constants = { ["true"] = true, ["false"] = false, ["null"] = false }
    local value = constants[word]
    if value == nil then value = tonumber(word) or error("byte " .. at .. ": " .. word) end
    return value, at + #word
end

function tables.read_json(path)
    local file = assert(io.open(path))
    local text = file:read("a")
    file:close()
    return (read_value(text, skip(text, 1)))
end

-- ---- Tables ----
local function number(value, digits)
    return value and value > 0 and string.format("%." .. digits .. "f", value) or "-"
end

local function config_text(config)
    if type(config) ~= "table" then return config or "" end
    local parts = {}
    for name, value in pairs(config) do parts[#parts + 1] = name .. "=" .. math.tointeger(value) end
    table.sort(parts)
    return table.concat(parts, ",")
end

-- One line per batch size and routing; gemm1 and gemm2 side by side.
local function tune_table(data, out)
    out[#out + 1] = string.format("`%s`, %s, %s, %s: %d rows in %.0f s.", data.command, data.device.name, data.device.driver,
        data.device.compiler, #data.rows, data.seconds)
    out[#out + 1] = ""
    out[#out + 1] = "| M | routing | op | family | config | us | TFLOP/s | GB/s | % of roofline | tried / refused / failed |"
    out[#out + 1] = "|--:|---|---|---|---|--:|--:|--:|--:|---|"
    for _, row in ipairs(data.rows) do
        out[#out + 1] = string.format("| %d | %s | %s | %s | `%s` | %s | %s | %s | %s | %d / %d / %d |", row.tokens, row.routing,
            row.op, row.family, config_text(row.config), number(row.time_us_median, 1), number(row.tflops, 1),
            number(row.gbps, 0), number(row.roofline * 100, 0), row.tried, row.refused, row.failed)
    end
end

-- What the rows of each format were held against: a file may hold runs of several machines of one kind.
local function ceilings_text(data)
    local seen, texts = {}, {}
    for _, row in ipairs(data.rows) do
        local text = string.format("%s%.0f TFLOP/s and %.0f GB/s", row.mode and row.mode .. " " or "",
            row.matrix_tflops or data.matrix_tflops, row.memory_gbps or data.memory_gbps)
        if not seen[text] then
            seen[text] = true
            texts[#texts + 1] = text
        end
    end
    return table.concat(texts, ", ")
end

-- Runs of one format have no column for it.
local function peers_table(data, out)
    local modes = data.bf16_tflops ~= nil
    out[#out + 1] = string.format("`tests/bench/peers.py`, %s, torch %s, Triton %s; ceilings: %s.", data.device, data.torch,
        data.triton, ceilings_text(data))
    out[#out + 1] = ""
    out[#out + 1] = "| layer | op | M |" .. (modes and " format | routing |" or "") ..
        " floor us | moejit us | family |" .. (modes and " quantise us |" or "") ..
        " Triton us | torch us | moejit / best peer | moejit / floor |"
    out[#out + 1] = "|---|---|--:|" .. (modes and "---|---|" or "") .. "--:|--:|---|" .. (modes and "--:|" or "") .. "--:|--:|--:|--:|"
    for _, row in ipairs(data.rows) do
        out[#out + 1] = string.format("| %s | %s | %d |%s %s | %s | %s |%s %s | %s | %s | %s |", row.case,
            row.moejit_op or "gemm" .. math.tointeger(row.gemm), row.tokens,
            modes and string.format(" %s | %s |", row.mode, row.routing) or "", number(row.floor_us, 1), number(row.moejit_us, 1),
            row.family .. (row.verified == false and ", unverified" or ""),
            modes and string.format(" %s |", number(row.quantise_us, 1)) or "", number(row.triton_us, 1), number(row.torch_us, 1),
            number(row.over_peer, 2), number(row.over_floor, 2))
    end
end

-- ---- Summaries: lines by columns, in the order of the file ----
local function grid()
    return { lines = {}, columns = {}, cells = {} }
end

local function put(g, line, column, text)
    if not g.cells[line] then
        g.cells[line] = {}
        g.lines[#g.lines + 1] = line
    end
    if not g.columns[column] then
        g.columns[column] = true
        g.columns[#g.columns + 1] = column
    end
    g.cells[line][column] = text
end

local function print_grid(g, head, rule, out)
    out[#out + 1] = ""
    out[#out + 1] = "| " .. head .. " | " .. table.concat(g.columns, " | ") .. " |"
    out[#out + 1] = "|" .. rule .. "|" .. string.rep("--:|", #g.columns)
    for _, line in ipairs(g.lines) do
        local cells = {}
        for i, column in ipairs(g.columns) do cells[i] = g.cells[line][column] or "-" end
        out[#out + 1] = "| " .. line .. " | " .. table.concat(cells, " | ") .. " |"
    end
end

-- "bf16 1.106, fp8 1.165": how far ahead of the best peer from so many tokens on, as geometric means in the order of the file.
local function means_text(rows, tokens_min)
    local sums, texts = {}, {}
    for _, row in ipairs(rows) do
        local sum = sums[row.mode]
        if not sum then
            sum = { mode = row.mode, logs = 0, count = 0 }
            sums[row.mode], sums[#sums + 1] = sum, sum
        end
        if row.tokens >= tokens_min then sum.logs, sum.count = sum.logs - math.log(row.over_peer), sum.count + 1 end
    end
    for i, sum in ipairs(sums) do texts[i] = string.format("%s %.3f", sum.mode, math.exp(sum.logs / sum.count)) end
    return table.concat(texts, ", ")
end

local function peers_summary(data, out)
    local g, worst = grid(), data.rows[1]
    for _, row in ipairs(data.rows) do
        put(g, row.case .. " | gemm" .. math.tointeger(row.gemm) .. " | " .. row.mode, tostring(math.tointeger(row.tokens)),
            string.format("%s (%.2f)", number(row.moejit_us, 1), 1 / row.over_peer))
        if row.over_peer > worst.over_peer then worst = row end
    end
    out[#out + 1] = string.format("`python3 tests/bench/peers.py`, %s, torch %s, Triton %s. us of a launch by batch size, and in " ..
        "brackets the best peer's time over it; geometric means: %s; without 1 token: %s; the lowest: %.3f.", data.device,
        data.torch, data.triton, means_text(data.rows, 1), means_text(data.rows, 2), 1 / worst.over_peer)
    print_grid(g, "layer | op | format", "---|---|---", out)
end

local summary_tokens = { [1] = true, [16] = true, [64] = true, [256] = true, [1024] = true, [4096] = true }

local function tune_summary(data, out)
    local g, families = grid(), {}
    for _, row in ipairs(data.rows) do
        if summary_tokens[row.tokens] then
            put(g, tostring(math.tointeger(row.tokens)), row.op,
                string.format("%s (%s)", number(row.time_us_median, 1), number(row.roofline * 100, 0)))
        end
        if not families[row.family] then
            families[row.family] = true
            families[#families + 1] = "`" .. row.family .. "`"
        end
    end
    out[#out + 1] = string.format("`%s`, %s, %s, %s: %d rows in %.0f s, served by %s; B %.0f GB/s. us of a launch, and in brackets " ..
        "percent of roofline.", data.command, data.device.name, data.device.driver, data.device.compiler, #data.rows, data.seconds,
        table.concat(families, ", "), data.ceilings.memory_gbps)
    print_grid(g, "M", "--:", out)
end

local makers = { table = { peers = peers_table, tune = tune_table }, summary = { peers = peers_summary, tune = tune_summary } }

function tables.make(form, name)
    local data = tables.read_json("tests/bench/results/" .. name)
    local out = {}
    makers[form][data.torch and "peers" or "tune"](data, out)
    return out
end

-- ---- Pages ----
function tables.read_page(path)
    local lines = {}
    for line in io.lines(path) do lines[#lines + 1] = line end
    return lines
end

-- A page's lines with every table made anew, and the number of tables.
function tables.rewrite(lines)
    local out, count, inside = {}, 0, false
    for _, line in ipairs(lines) do
        local form, name = line:match("^<!%-%- (%l+): (%S+%.json) %-%->$")
        if line == "<!-- end -->" then inside = false end
        if not inside then out[#out + 1] = line end
        if form then
            count, inside = count + 1, true
            for _, made in ipairs(tables.make(form, name)) do out[#out + 1] = made end
        end
    end
    if inside then error("a table without <!-- end -->") end
    return out, count
end

-- The pages that are not what the raw JSON says, and the number of tables; with `write` they are rewritten.
function tables.update(write)
    local stale, count = {}, 0
    for _, path in ipairs(tables.pages) do
        local old = tables.read_page(path)
        local new, made = tables.rewrite(old)
        count = count + made
        if table.concat(old, "\n") ~= table.concat(new, "\n") then
            stale[#stale + 1] = path
            if write then
                local file = assert(io.open(path, "w"))
                file:write(table.concat(new, "\n"), "\n")
                file:close()
            end
        end
    end
    return stale, count
end

function tables.stale_text(stale)
    return table.concat(stale, ", ") .. " differs from the raw JSON: lua5.4 tests/bench/readme_tables.lua"
end

if arg and arg[0] and arg[0]:find("readme_tables%.lua$") then
    local check = arg[1] == "--check"
    local stale, count = tables.update(not check)
    print(check and #stale > 0 and tables.stale_text(stale) or count .. " tables")
    os.exit(not check or #stale == 0)
end

return tables
