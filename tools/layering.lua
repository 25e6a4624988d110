--- Checks the order of the house in csrc: who may include whom, and who may call what.
--
--    lua5.4 tools/layering.lua FILE...
--
-- Prints "file:line: what is wrong" for each breach and exits with 1 if there was one.
local layers = { "base", "kernels", "tensor", "ops", "autograd", "image", "io", "lua" }

local height = {}
for level, name in ipairs(layers) do
   height[name] = level
end

-- Headers and functions that belong to some files alone: a pattern, who may, why.
local function is_isa_file(path)
   return path:match("_avx2%.[ch]$") or path:match("_avx512%.[ch]$")
end
local reserved_headers = {
   { "^lua%.h$", "^csrc/lua/" }, { "^lualib%.h$", "^csrc/lua/" }, { "^lauxlib%.h$", "^csrc/lua/" },
   { "^cblas%.h$", "^csrc/kernels/gemm%.c$" },
   { "^[%w_]*intrin%.h$", is_isa_file }, { "^arm_neon%.h$", "_neon%.[ch]$" },
   { "^pthread%.h$", "^csrc/base/" },
}
local memory, nobody = "^csrc/base/mem%.c$", "^nobody$"
local reserved_calls = {
   malloc = memory, calloc = memory, realloc = memory, free = memory, posix_memalign = memory,
   aligned_alloc = memory, strdup = memory, strndup = memory, alloca = nobody,
   exit = nobody, _exit = nobody, abort = nobody, printf = nobody, vprintf = nobody,
   fprintf = nobody, puts = nobody, putchar = nobody, fputs = nobody, perror = nobody,
   system = nobody, popen = nobody, strcpy = nobody, strcat = nobody, sprintf = nobody,
   vsprintf = nobody, gets = nobody,
}

local function allowed(path, who)
   if type(who) == "function" then
      return who(path)
   end
   return path:match(who) ~= nil
end

--- The text without comments, and without what stands in strings; line ends stay.
local function strip(text)
   local out, position = {}, 1
   local function blank(piece)
      return (piece:gsub("[^\n]", " "))
   end
   while position <= #text do
      local two, one = text:sub(position, position + 1), text:sub(position, position)
      local last
      if two == "/*" then
         last = select(2, text:find("*/", position + 2, true)) or #text
      elseif two == "//" then
         last = (text:find("\n", position, true) or #text + 1) - 1
      elseif one == '"' or one == "'" then
         last = position + 1
         while last <= #text and text:sub(last, last) ~= one do
            last = last + (text:sub(last, last) == "\\" and 2 or 1)
         end
      end
      if last then
         out[#out + 1] = blank(text:sub(position, last))
      else
         out[#out + 1] = one
      end
      position = (last or position) + 1
   end
   return table.concat(out)
end

local breaches = 0
local function breach(path, line, ...)
   breaches = breaches + 1
   io.stderr:write(("%s:%d: "):format(path, line), string.format(...), "\n")
end

local function check_include(path, line, layer, header)
   for _, rule in ipairs(reserved_headers) do
      if header:match(rule[1]) and not allowed(path, rule[2]) then
         breach(path, line, "<%s> is not to be included here", header)
      end
   end
   local target = header:match("^([%w_]+)/")
   if height[target] and height[layer] and height[target] > height[layer] then
      breach(path, line, "%s may not include %s: includes point from lua down to base", layer, header)
   end
end

local function check(path)
   local file = assert(io.open(path))
   local text = file:read("a")
   file:close()
   local layer = path:match("^csrc/([%w_]+)/")
   local number = 0
   for line in (text .. "\n"):gmatch("(.-)\n") do
      number = number + 1
      local header = line:match('^%s*#%s*include%s*[<"]([^>"]+)[>"]')
      if header then
         check_include(path, number, layer, header)
      end
   end
   number = 0
   for line in (strip(text) .. "\n"):gmatch("(.-)\n") do
      number = number + 1
      for before, name in line:gmatch("([%w_>.]*)%f[%w_]([%a_][%w_]*)%s*%(") do
         local who = reserved_calls[name]
         if who and before == "" and not allowed(path, who) then
            breach(path, number, "%s() is not to be called here", name)
         end
      end
   end
end

for _, path in ipairs(arg) do
   check(path)
end
print(("layering: %d files, %d breaches"):format(#arg, breaches))
os.exit(breaches == 0)
