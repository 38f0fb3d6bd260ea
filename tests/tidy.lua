-- tidy.lua: the rules of the source tree that a program can check. Run from the top folder: lua5.4 tests/tidy.lua
-- A rule with old offenders lists them in `allowed`; the list may only shrink.

local LINE_CHARS_MAX, FUNCTION_LINES_MAX, FILE_LINES_MAX = 140, 70, 600
local TEST_FILE_LINES_MAX = 700

local failures = {}
local function fail(rule, format, ...)
    failures[rule] = failures[rule] or {}
    table.insert(failures[rule], string.format(format, ...))
end

local function read_lines(path)
    local lines = {}
    for line in io.lines(path) do lines[#lines + 1] = line end
    return lines
end

local function tracked_files()
    local names = {}
    -- Files not yet committed count too; ignored ones do not. Outside a checkout: whatever is there.
    local list = io.popen("git ls-files -co --exclude-standard 2>/dev/null || " ..
        "find . -type f -not -path './build*' -not -path './.git/*' -not -path './.cache/*' | sed 's#^./##'")
    for name in list:lines() do
        local file = io.open(name)
        if file then
            file:close()
            names[#names + 1] = name
        end
    end
    list:close()
    table.sort(names)
    return names
end

-- ---- Layers: folder -> folders whose headers it may include. Within a folder, file rules narrow the system headers. ----
local may_include = {
    generator = { generator = true },
    runtime = { runtime = true, generator = true },
    tuner = { tuner = true, runtime = true, generator = true },
    tests = { tests = true, tuner = true, runtime = true, generator = true },
}
-- Outside headers: pattern -> which files may include them.
local outside = {
    { "^lua%.h$", "^generator/spec", "^tuner/script", "^tests/" },
    { "^lauxlib%.h$", "^generator/spec", "^tuner/script", "^tests/" },
    { "^lualib%.h$", "^generator/spec", "^tuner/script", "^tests/" },
    { "cJSON%.h$", "^runtime/json%.c$" },
    { "^dlfcn%.h$", "^runtime/", "^tests/" },
    { "^time%.h$", "^runtime/", "^tuner/", "^tests/" },
    { "^pthread%.h$", "^runtime/", "^tuner/", "^tests/" },
    { "^cuda", "^$" }, { "^nvrtc", "^$" }, { "^hip", "^$" }, { "^nccl", "^$" }, { "^mpi%.h$", "^$" },
}

local function layer_of(path)
    return path:match("^([^/]+)/")
end

local function check_outside(path, line_number, header)
    for _, rule in ipairs(outside) do
        if header:find(rule[1]) then
            for i = 2, #rule do
                if path:find(rule[i]) then return end
            end
            fail("layers", "%s:%d: includes <%s>", path, line_number, header)
        end
    end
end

local function check_includes(path, lines, folder_of)
    local layer = layer_of(path)
    for number, line in ipairs(lines) do
        local own = line:match('^%s*#%s*include%s*"([^"]+)"')
        local system = line:match("^%s*#%s*include%s*<([^>]+)>")
        if own then
            local folder = folder_of[own]
            if own:find("/") and layer ~= "templates" then
                fail("layers", '%s:%d: "%s" is not a plain file name', path, number, own)
            elseif not folder then
                check_outside(path, number, own)
            elseif may_include[layer] and not may_include[layer][folder] then
                fail("layers", "%s:%d: %s may not include %s/%s", path, number, layer, folder, own)
            end
        elseif system then
            check_outside(path, number, system)
        end
    end
end

-- ---- Banned calls: name -> reason, and where it is allowed after all ----
local banned = {
    strcpy = { "use snprintf", "^tests/" }, strcat = { "use snprintf", "^tests/" },
    sprintf = { "use snprintf", "^tests/" }, vsprintf = { "use vsnprintf", "^tests/" },
    gets = { "use fgets" }, atoi = { "use strtol and check" }, atol = { "use strtol and check" },
    atof = { "use strtod and check" }, strtok = { "keeps a global" }, alloca = { "unbounded" }, system = { "use posix_spawn", "^tests/" },
    exit = { "a library never exits", "^tests/", "^tuner/[a-z_]*main%.c$" },
    abort = { "a library never exits", "^tests/" },
    printf = { "a library never prints", "^tests/", "^tuner/cli", "^tuner/[a-z_]*main%.c$", "^tuner/report%.c$",
        "^tuner/progress%.c$", "^generator/embed_main%.c$", "^runtime/hiprtc_main%.c$" },
    puts = { "a library never prints", "^tests/", "^tuner/cli" },
    putchar = { "a library never prints", "^tests/", "^tuner/cli", "^tuner/report%.c$" },
    rand = { "unseeded", "^$" }, setenv = { "changes the caller's process", "^tests/" },
}

local function allowed(path, rule)
    for i = 2, #rule do
        if path:find(rule[i]) then return true end
    end
    return false
end

-- The text without comments and without what strings and character constants hold; the lines stay where they are.
local function strip(lines)
    local out, in_comment = {}, false
    for number, line in ipairs(lines) do
        local text, i = {}, 1
        while i <= #line do
            local two, one = line:sub(i, i + 1), line:sub(i, i)
            if in_comment then
                if two == "*/" then in_comment, i = false, i + 1 end
            elseif two == "/*" then
                in_comment, i = true, i + 1
            elseif two == "//" then
                break
            elseif one == '"' or one == "'" then
                local stop = i + 1
                while stop <= #line and line:sub(stop, stop) ~= one do
                    stop = stop + (line:sub(stop, stop) == "\\" and 2 or 1)
                end
                text[#text + 1], i = one .. one, stop
            else
                text[#text + 1] = one
            end
            i = i + 1
        end
        out[number] = table.concat(text)
    end
    return out
end

local function check_calls(path, code)
    for number, line in ipairs(code) do
        for before, name in line:gmatch("([%w_.>]*)%f[%w_]([%a_][%w_]*)%s*%(") do
            local rule = banned[name]
            if rule and before == "" and not allowed(path, rule) then
                fail("calls", "%s:%d: %s: %s", path, number, name, rule[1])
            end
        end
    end
end

-- A function is what stands between a `{` and a `}` in the first column.
local function check_functions(path, code)
    local start
    for number, line in ipairs(code) do
        if line:find("^{") then
            start = number
        elseif line:find("^}") and start then
            if number - start + 1 > FUNCTION_LINES_MAX then
                fail("function_length", "%s:%d: a function of %d lines, %d at most", path, start, number - start + 1,
                    FUNCTION_LINES_MAX)
            end
            start = nil
        end
    end
end

local function check_text(path, lines)
    local lines_max = path:find("^tests/") and TEST_FILE_LINES_MAX or FILE_LINES_MAX
    if #lines > lines_max then fail("file_length", "%s: %d lines, %d at most", path, #lines, lines_max) end
    for number, line in ipairs(lines) do
        -- Characters, not bytes; but a stray byte still counts as one.
        if (utf8.len(line) or #line) > LINE_CHARS_MAX then
            fail("line_length", "%s:%d: %d characters, %d at most", path, number, utf8.len(line) or #line, LINE_CHARS_MAX)
        end
        if line:find("%s$") then fail("whitespace", "%s:%d: ends in white space", path, number) end
        if line:find("\t") then fail("whitespace", "%s:%d: a tab", path, number) end
        -- Spelled in two parts, or this file would find itself.
        if line:find("FIX" .. "ME") or line:find("TO" .. "DO") or line:find("%f[%w]XX" .. "X%f[%W]") then
            fail("left_over", "%s:%d: %s", path, number, line)
        end
    end
end

local function check_guard(path, lines)
    local guard = "MOEJIT_" .. path:match("([^/]+)%.h$"):upper():gsub("^MOEJIT_?", "") .. "_H"
    local text = table.concat(lines, "\n")
    guard = guard:gsub("__", "_")
    if not text:find("#ifndef MOEJIT_[A-Z0-9_]*H\n#define MOEJIT_") and not path:find("^templates/") then
        fail("guards", "%s: no include guard such as %s", path, guard)
    end
end

-- ---- The tree ----
local folder_of, sources, seen = {}, {}, {}
local cmake = table.concat(read_lines("CMakeLists.txt"), "\n")
local files = tracked_files()
for _, path in ipairs(files) do
    local name, layer = path:match("([^/]+)$"), layer_of(path)
    if name:find("%.inc$") then folder_of[name] = layer end
    if name:find("%.[ch]$") and not path:find("^tests/golden/") and not path:find("^tests/mutants/") then
        if seen[name] then fail("unique_names", "%s and %s have one name", seen[name], path) end
        seen[name] = path
        sources[#sources + 1] = path
        if name:find("%.h$") and layer ~= "templates" then folder_of[name] = layer end
    end
end

local function listed(path)
    local stem = path:match("([^/]+)%.c$")
    if path:find("^tests/examples/") or path == "tests/nvrtc_probe.c" then return true end -- built by scripts
    if layer_of(path) == "tests" then return cmake:find("%f[%w_]" .. stem .. "%f[^%w_]") ~= nil end
    return cmake:find(path, 1, true) ~= nil
end

for _, path in ipairs(files) do
    if path:find("%.[ch]$") or path:find("%.lua$") or path:find("%.sh$") or path:find("%.tmpl$") or path:find("%.inc$") then
        if not path:find("^tests/golden/") and not path:find("^tests/mutants/") then check_text(path, read_lines(path)) end
    end
end
for _, path in ipairs(sources) do
    local lines = read_lines(path)
    local code = strip(lines)
    if layer_of(path) ~= "templates" then
        check_includes(path, lines, folder_of)
        check_calls(path, code)
        check_functions(path, code)
    end
    if path:find("%.h$") then check_guard(path, lines) end
    if path:find("%.c$") and not listed(path) then fail("listed", "%s is not in CMakeLists.txt", path) end
end

-- The checks must be able to fail: each is given a text that breaks its rule.
local function self_test()
    local keep = failures
    failures = {}
    check_text("generator/a.c", { ("x"):rep(LINE_CHARS_MAX + 1), "int a; ", "// TO" .. "DO" })
    check_calls("runtime/a.c", strip({ 'strcpy(a, "printf(");', "/* exit(1) */ log->printf(x);" }))
    check_includes("generator/a.c", { '#include "json.h"', "#include <dlfcn.h>" }, { ["json.h"] = "runtime" })
    local long = { "{" }
    for i = 1, FUNCTION_LINES_MAX do long[#long + 1] = "" end
    long[#long + 1] = "}"
    check_functions("runtime/a.c", long)
    local counts = {}
    for rule, list in pairs(failures) do counts[#counts + 1] = rule .. "=" .. #list end
    table.sort(counts)
    failures = keep
    return table.concat(counts, " ")
end
local want = "calls=1 function_length=1 layers=2 left_over=1 line_length=1 whitespace=1"
local got = self_test()
if got ~= want then fail("self_test", "found %s, not %s", got, want) end

-- Scripts that no pass runs, those for GPU machines above all, can at least be read by the shell.
for _, path in ipairs(files) do
    if path:find("%.sh$") then
        local pipe = io.popen("bash -n '" .. path .. "' 2>&1")
        local said = pipe:read("l")
        pipe:close()
        if said then fail("shell", "%s", said) end
    end
end

local rules = { "calls", "file_length", "function_length", "guards", "layers", "left_over", "line_length", "listed",
    "self_test", "shell", "unique_names", "whitespace" }
local bad = false
for _, rule in ipairs(rules) do
    for _, text in ipairs(failures[rule] or {}) do
        print("FAIL " .. rule .. ": " .. text)
        bad = true
    end
    if not failures[rule] then print("ok " .. rule) end
end
os.exit(not bad)
