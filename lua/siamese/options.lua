--- Checking of options tables, the same everywhere.
--
--    local o = options.check("nn.Conv2d", given, {
--       in_channels = options.required, stride = 1, name = options.optional })
--
-- An option that is not in the specification raises at the script that called the library, names the key
-- and suggests the nearest one; so does a required one that is missing. The result is a new table with
-- the defaults filled in.
-- @module siamese.options
local core = require "siamese.core"

core.own_sources() -- errors have the position of who called this library, however deep in it they are raised

local M = {}

--- Marks an option that must be given.
M.required = setmetatable({}, { __name = "required" })
--- Marks an option without a default.
M.optional = setmetatable({}, { __name = "optional" })

--- Edit distance (Levenshtein 1966) of two short strings.
local function distance(a, b)
   local row = {}
   for j = 0, #b do
      row[j] = j
   end
   for i = 1, #a do
      local diagonal = row[0]
      row[0] = i
      for j = 1, #b do
         local cost = a:byte(i) == b:byte(j) and 0 or 1
         diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
      end
   end
   return row[#b]
end

--- The name at most three edits away, or one that contains the key or lies in it.
local function nearest(key, spec)
   local best, least = nil, 4
   for name in pairs(spec) do
      local d = distance(key, name)
      if #key >= 3 and (name:find(key, 1, true) or key:find(name, 1, true)) then
         d = math.min(d, 3)
      end
      if d < least or (d == least and best and name < best) then
         best, least = name, d
      end
   end
   return best
end

local function known(spec)
   local names = {}
   for name in pairs(spec) do
      names[#names + 1] = name
   end
   table.sort(names)
   return table.concat(names, ", ")
end

local function unknown(name, key, spec)
   local close = type(key) == "string" and nearest(key, spec)
   local hint = close and (" (did you mean '%s'?)"):format(close)
      or next(spec) == nil and " (it has none)" or (" (options: %s)"):format(known(spec))
   return ("%s: unknown option '%s'%s"):format(name, tostring(key), hint)
end

--- Checks a table of options.
-- @tparam string name what they are for, as the messages begin
-- @tparam ?table given
-- @tparam table spec for each option its default, `required` or `optional`
-- @treturn table a new table
function M.check(name, given, spec)
   if given ~= nil and type(given) ~= "table" then
      core.raise(("%s: expected a table of options, got %s"):format(name, type(given)))
   end
   local out = {}
   for key, value in pairs(given or {}) do
      if spec[key] == nil then
         core.raise(unknown(name, key, spec))
      end
      out[key] = value
   end
   for key, default in pairs(spec) do
      if out[key] == nil and default == M.required then
         core.raise(("%s: option '%s' is required"):format(name, key))
      elseif out[key] == nil and default ~= M.optional then
         out[key] = default
      end
   end
   return out
end

--- A specification with more (or other) options.
-- @treturn table
function M.extend(spec, more)
   local out = {}
   for key, value in pairs(spec) do
      out[key] = value
   end
   for key, value in pairs(more) do
      out[key] = value
   end
   return out
end

--- Raises unless options[key] is a whole number of at least `least`.
-- @tparam string name what the options are for
-- @tparam table options
-- @tparam string key
-- @tparam int least
function M.check_count(name, options, key, least)
   local value = options[key]
   if math.type(value) ~= "integer" or value < least then
      core.raise(("%s: %s must be an integer of at least %d, got %s"):format(name, key, least,
         tostring(value)))
   end
end

--- Raises unless options[key] is a number from `low` to `high`. Parameters as `check_count`'s.
function M.check_number(name, options, key, low, high)
   local value = options[key]
   if type(value) ~= "number" or not (value >= low and value <= high) then
      core.raise(("%s: %s must be a number from %g to %g, got %s"):format(name, key, low, high,
         tostring(value)))
   end
end

--- Raises unless a seed is a whole number or nil.
function M.check_seed(name, seed)
   if seed ~= nil and not (type(seed) == "number" and math.tointeger(seed)) then
      core.raise(("%s: seed must be an integer, got %s"):format(name, M.text(seed)))
   end
end

--- Raises unless options[key] is true or false. Parameters as `check_count`'s.
function M.check_boolean(name, options, key)
   if type(options[key]) ~= "boolean" then
      core.raise(("%s: %s must be true or false, got %s"):format(name, key, tostring(options[key])))
   end
end

--- Raises unless options[key] is an integer or a table of two, each at least `least`. Parameters as
-- `check_count`'s.
-- @treturn {int,int} both
function M.check_pair(name, options, key, least)
   local value = options[key]
   local both = type(value) == "table" and value or { value, value }
   for i = 1, math.max(2, #both) do
      if math.type(both[i]) ~= "integer" or both[i] < least or i > 2 then
         core.raise(("%s: %s must be an integer of at least %d or a table of two such, got %s"):format(name,
            key, least, M.text(value)))
      end
   end
   return { both[1], both[2] }
end

--- Raises unless options[key] is one of the strings in `choices`. Parameters as `check_count`'s.
function M.check_choice(name, options, key, choices)
   for _, choice in ipairs(choices) do
      if options[key] == choice then
         return
      end
   end
   core.raise(("%s: %s must be '%s', got %s"):format(name, key, table.concat(choices, "' or '"),
      M.text(options[key])))
end

--- Raises unless a value can be the path of a file.
-- @tparam string name of the function, for messages
-- @param path
-- @treturn string it
function M.check_path(name, path)
   if type(path) ~= "string" or path == "" or path:find("\0", 1, true) then
      core.raise(("%s: expected the path of a file, got %s"):format(name, type(path) == "string" and ("%q")
         :format(path) or type(path)))
   end
   return path
end

--- What an error says, without the position that it begins with.
-- @param message what pcall gave
-- @treturn string
function M.without_position(message)
   return (tostring(message):gsub("^[^\n:]+:%d+: ", ""))
end

--- How a value stands in a message: lists with what is in them.
-- @treturn string
function M.text(value)
   if type(value) ~= "table" then
      return type(value) == "string" and ("'%s'"):format(value) or tostring(value)
   end
   local parts = {}
   for i, item in ipairs(value) do
      parts[i] = tostring(item)
   end
   return "{" .. table.concat(parts, ", ") .. "}"
end

return M
