--- JSON (RFC 8259) for records that travel in files: data only, and strict.
--
--    json.encode{ name = "conv4", options = { width = 64, size = { 28, 28 } } }
--    local value, message = json.decode(text)
--
-- Whole numbers stay integers and others floats, to the last bit. A table with the keys 1 to n is a
-- list, any other an object; an empty table is written as an object, and both kinds of nothing are
-- read as an empty table.
-- @module siamese.json
local core = require "siamese.core"
local M = {}

--- What `null` is read as, since a Lua table cannot hold nil.
M.null = setmetatable({}, { __name = "null", __tostring = function() return "null" end })

local DEEPEST = 64 -- nesting: nothing that is meant gets there, and the reader is recursive

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n",
   ["\r"] = "\\r", ["\t"] = "\\t" }

-- Writing

local function quote(text)
   if not utf8.len(text) then
      error(("json.encode: a string must be UTF-8, got %q"):format(text), 0)
   end
   return '"' .. text:gsub('[%c"\\]', function(c)
      return ESCAPES[c] or ("\\u%04x"):format(c:byte())
   end) .. '"'
end

local function number(value)
   if math.type(value) == "integer" then
      return ("%d"):format(value)
   elseif value ~= value or value == math.huge or value == -math.huge then
      error("json.encode: " .. tostring(value) .. " has no form in JSON", 0)
   end
   local text = ("%.17g"):format(value)
   return text:find("[.e]") and text or text .. ".0" -- so that it is read as a float again
end

local encode

local function list(value, depth)
   local parts = {}
   for i, item in ipairs(value) do
      parts[i] = encode(item, depth)
   end
   return "[" .. table.concat(parts, ",") .. "]"
end

--- Keys in order, so that the same data always gives the same text.
local function object(value, depth)
   local keys, parts = {}, {}
   for key in pairs(value) do
      if type(key) ~= "string" then
         error(("json.encode: keys must be strings or 1 to n, got '%s' (a %s)"):format(tostring(key),
            type(key)), 0)
      end
      keys[#keys + 1] = key
   end
   table.sort(keys)
   for i, key in ipairs(keys) do
      parts[i] = quote(key) .. ":" .. encode(value[key], depth)
   end
   return "{" .. table.concat(parts, ",") .. "}"
end

local function is_list(value)
   local count = 0
   for _ in pairs(value) do
      count = count + 1
   end
   return count > 0 and count == #value
end

function encode(value, depth)
   local kind = type(value)
   if kind == "string" then
      return quote(value)
   elseif kind == "number" then
      return number(value)
   elseif kind == "boolean" or value == M.null then
      return tostring(value)
   elseif kind ~= "table" then
      error("json.encode: a " .. kind .. " is no data", 0)
   elseif depth >= DEEPEST then
      error(("json.encode: nested deeper than %d, or in itself"):format(DEEPEST), 0)
   end
   return (is_list(value) and list or object)(value, depth + 1)
end

--- Text of a value: strings, numbers, booleans, `json.null` and tables of them. Keys are sorted. Raises
-- for anything else.
-- @treturn string
function M.encode(value)
   local ok, text = pcall(encode, value, 0)
   if not ok then
      core.raise(text)
   end
   return text
end

-- Reading: each reader takes the text and where to begin, and gives the value and where it ended. All
-- stop by raising {reason, place}.

local function fail(reason, at)
   error({ reason, at }, 0)
end

local function skip(text, at)
   return text:find("[^ \t\r\n]", at) or #text + 1
end

local PLAIN = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r",
   t = "\t" }

--- The character of \uXXXX at `at`, or of the two that make up one beyond U+FFFF.
local function escape(text, at)
   local code = tonumber(text:match("^u(%x%x%x%x)", at) or fail("a wrong escape", at), 16)
   at = at + 5
   if code >= 0xD800 and code < 0xE000 then
      local low = tonumber(text:match("^\\u([dD][c-fC-F]%x%x)", at) or "", 16)
      if code >= 0xDC00 or not low then
         fail("half a surrogate pair", at)
      end
      code, at = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), at + 6
   end
   return utf8.char(code), at
end

local function read_string(text, at)
   local start, parts = at, {}
   at = at + 1
   while true do
      local stop = text:find('[%c"\\]', at) or fail("a string without an end", start)
      parts[#parts + 1] = text:sub(at, stop - 1)
      local c = text:sub(stop, stop)
      if c == '"' then
         local whole = table.concat(parts)
         return utf8.len(whole) and whole or fail("a string that is not UTF-8", start), stop + 1
      elseif c == "\127" then
         parts[#parts + 1], at = c, stop + 1
      elseif c ~= "\\" then
         fail("a control character in a string", stop)
      else
         local plain = PLAIN[text:sub(stop + 1, stop + 1)]
         at = stop + 2
         if not plain then
            plain, at = escape(text, stop + 1)
         end
         parts[#parts + 1] = plain
      end
   end
end

local function read_number(text, at)
   local whole = text:match("^%-?%d+", at) or fail("something that is no value", at)
   local stop = at + #whole
   if whole:find("^%-?0%d") then
      fail("a number that begins with 0", at)
   end
   local rest = text:match("^%.%d+[eE][+-]?%d+", stop) or text:match("^%.%d+", stop)
      or text:match("^[eE][+-]?%d+", stop) or ""
   local value = rest == "" and math.tointeger(tonumber(whole)) or tonumber(whole .. rest)
   if value == math.huge or value == -math.huge then
      fail("a number that is too large", at)
   end
   return value, stop + #rest
end

local read

--- What is between brackets: calls take(at) for each, which gives where it ended.
local function read_items(text, at, close, take)
   local start = at
   at = skip(text, at + 1)
   if text:sub(at, at) == close then
      return at + 1
   end
   while true do
      at = skip(text, take(at))
      local c = text:sub(at, at)
      if c == close then
         return at + 1
      elseif c ~= "," then
         fail("a list or an object without an end", start)
      end
      at = skip(text, at + 1)
   end
end

local function read_list(text, at, depth)
   local out, count = {}, 0
   return out, read_items(text, at, "]", function(place)
      count = count + 1
      out[count], place = read(text, place, depth)
      return place
   end)
end

local function read_object(text, at, depth)
   local out = {}
   return out, read_items(text, at, "}", function(place)
      if text:sub(place, place) ~= '"' then
         fail("a key that is no string", place)
      end
      local key, after = read_string(text, place)
      after = skip(text, after)
      if out[key] ~= nil then
         fail(("the key %q twice"):format(key), place)
      elseif text:sub(after, after) ~= ":" then
         fail("a key without a colon", place)
      end
      out[key], after = read(text, skip(text, after + 1), depth)
      return after
   end)
end

local WORDS = { t = { "true", true }, f = { "false", false }, n = { "null", M.null } }

function read(text, at, depth)
   local c = text:sub(at, at)
   if c == '"' then
      return read_string(text, at)
   elseif c == "{" or c == "[" then
      if depth >= DEEPEST then
         fail("nesting deeper than " .. DEEPEST, at)
      end
      return (c == "{" and read_object or read_list)(text, at, depth + 1)
   end
   local word = WORDS[c]
   if word and text:sub(at, at + #word[1] - 1) == word[1] then
      return word[2], at + #word[1]
   end
   return read_number(text, at)
end

--- The value of a text.
-- @tparam string text
-- @treturn[1] any
-- @treturn[2] nil
-- @treturn[2] string message: what is wrong and at which byte
function M.decode(text)
   if type(text) ~= "string" then
      core.raise("json.decode: expected a string, got " .. type(text))
   end
   local ok, value, at = pcall(read, text, skip(text, 1), 0)
   if ok and skip(text, at) <= #text then
      ok, value = false, { "something behind the end", at }
   end
   if ok then
      return value
   elseif type(value) ~= "table" then
      error(value, 0)
   end
   return nil, ("broken JSON: %s at byte %d"):format(value[1], value[2])
end

return M
