-- readme_tables.lua: the README's tables of results, made from the committed raw JSON.
--   lua5.4 tests/bench/readme_tables.lua           rewrites README.md
--   lua5.4 tests/bench/readme_tables.lua --check   fails where README.md is not what the JSON says
-- A table stands between two lines of the README:  <!-- table: NAME.json -->  and  <!-- end -->
-- NAME.json lies in tests/bench/results/: the output of `moejit tune|bench --json`, or of tests/bench/peers.py.

local tables = {}

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

function tables.make(name)
    local data = tables.read_json("tests/bench/results/" .. name)
    local out = {}
    if data.torch then
        peers_table(data, out)
    else
        tune_table(data, out)
    end
    return out
end

-- The README's lines with every table made anew, and the number of tables.
function tables.rewrite(lines)
    local out, count, inside = {}, 0, false
    for _, line in ipairs(lines) do
        local name = line:match("^<!%-%- table: (%S+) %-%->$")
        if line == "<!-- end -->" then inside = false end
        if not inside then out[#out + 1] = line end
        if name then
            count, inside = count + 1, true
            for _, made in ipairs(tables.make(name)) do out[#out + 1] = made end
        end
    end
    if inside then error("README.md: a table without <!-- end -->") end
    return out, count
end

function tables.read_readme()
    local lines = {}
    for line in io.lines("README.md") do lines[#lines + 1] = line end
    return lines
end

if arg and arg[0] and arg[0]:find("readme_tables%.lua$") then
    local old = tables.read_readme()
    local new, count = tables.rewrite(old)
    local same = table.concat(old, "\n") == table.concat(new, "\n")
    if arg[1] == "--check" then
        print(same and "up to date" or "README.md differs from the raw JSON: lua5.4 tests/bench/readme_tables.lua")
        os.exit(same)
    end
    local file = assert(io.open("README.md", "w"))
    file:write(table.concat(new, "\n"), "\n")
    file:close()
    print(count .. " tables")
end

return tables
