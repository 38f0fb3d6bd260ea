-- readme_test.lua BUILD: does what README.md tells the reader to do. Run from the top folder.
-- A fenced block after a line <!-- test --> is run, one command per line, each of which must end with 0; `build/` stands
-- for BUILD. <!-- test: N --> expects exit code N. A ```c block after <!-- test: compile --> is built against the library
-- and run. The tables between markers must be what the raw JSON gives.

package.path = "tests/bench/?.lua;" .. package.path
local tables = require("readme_tables")
local build = assert(arg[1], "usage: readme_test.lua BUILD")
local bad = false

local function report(name, failure)
    print(failure and "FAIL " .. name .. ": " .. failure or "ok " .. name)
    bad = bad or failure ~= nil
end

local function capture(command)
    local pipe = io.popen(command .. " 2>&1 </dev/null")
    local text = pipe:read("a")
    local _, kind, code = pipe:close()
    return kind == "exit" and code or 128 + (code or 0), text
end

local function tail(text)
    return text:gsub("%s+$", ""):sub(-300):gsub("\n", " ")
end

-- Blocks of README.md that a mark stands above: { mark, first line, lines }
local function marked_blocks(lines)
    local blocks, mark, block = {}, nil, nil
    for number, line in ipairs(lines) do
        if block and line == "```" then
            blocks[#blocks + 1], block, mark = block, nil, nil
        elseif block then
            block.lines[#block.lines + 1] = line
        elseif line:find("^```") and mark then
            block = { mark = mark, at = number, lines = {} }
        else
            mark = line:match("^<!%-%- test:? ?(%S*) ?%-%->$") or (line == "" and mark or nil)
        end
    end
    return blocks
end

local scratch = os.tmpname()
os.remove(scratch)
local home = "env HOME=" .. scratch .. " XDG_CACHE_HOME=" .. scratch .. "/cache XDG_DATA_HOME=" .. scratch ..
    "/data XDG_STATE_HOME=" .. scratch .. "/state "

local function run_commands(block)
    for index, line in ipairs(block.lines) do
        local command = line:gsub("%s+#.*$", ""):gsub("%f[%w./]build/", build .. "/")
        if command:find("%S") and not command:find("^#") then
            local code, text = capture(home .. "OUT=" .. scratch .. " " .. command)
            local want = tonumber(block.mark) or 0
            report("line_" .. block.at + index, code ~= want and
                string.format("`%s` ended with %d, not %d: %s", line, code, want, tail(text)) or nil)
        end
    end
end

local function compile(block)
    local source, program = scratch .. "/example.c", scratch .. "/example"
    local file = assert(io.open(source, "w"))
    file:write(table.concat(block.lines, "\n"), "\n")
    file:close()
    local code, text = capture(string.format(
        "gcc -std=c11 -Wall -Wextra -Werror -Igenerator -Iruntime -Ituner -o %s %s -L%s -lmoejit -Wl,-rpath,$(realpath %s) && %s%s",
        program, source, build, build, home, program))
    report("example_line_" .. block.at, code ~= 0 and "ended with " .. code .. ": " .. tail(text) or nil)
end

os.execute("mkdir -p " .. scratch)
local lines = tables.read_page("README.md")
local blocks = marked_blocks(lines)
for _, block in ipairs(blocks) do
    if block.mark == "compile" then
        compile(block)
    else
        run_commands(block)
    end
end
report("blocks", #blocks < 2 and "only " .. #blocks .. " marked blocks" or nil)

local ok, stale, count = pcall(tables.update, false)
report("tables", not ok and stale or count < 4 and "only " .. count .. " tables" or
    #stale > 0 and tables.stale_text(stale) or nil)

-- Paths that the text names exist.
local missing = {}
for _, line in ipairs(lines) do
    for path in line:gmatch("%]%(([%w_./-]+)#?[%w-]*%)") do
        local file = io.open(path)
        if file then file:close() else missing[#missing + 1] = path end
    end
end
report("links", #missing > 0 and table.concat(missing, " ") or nil)
os.execute("rm -rf " .. scratch)
os.exit(not bad)
