--- What happened in training: flat records, in memory and in files as CSV and as JSON lines.
--
--    local history = siamese.History{ csv = "run.csv", jsonl = "run.jsonl" }
--    assert(history:add{ step = 100, loss = 0.5, accuracy = 0.8 })
--    history:column("loss")
--
-- The files belong to this history: they are written anew with its first record (or when its state is put
-- back), then a line is added for each record and handed to the system at once. A record with a key that
-- none had before lets the CSV be written anew, with one more column.
-- @module siamese.history
local core = require "siamese.core"
local json = require "siamese.json"
local options = require "siamese.options"

--- @type History
local History = {}
History.__index = History

-- Columns that come first, in this order, if there.
local FIRST = { step = 1, epoch = 2, seconds = 3, images = 4, lr = 5, loss = 6 }

local function check_path(key, path)
   if path ~= nil and (type(path) ~= "string" or path == "" or path:find("\0", 1, true)) then
      core.raise(("History: %s must be the name of a file, got %s"):format(key, options.text(path)))
   end
end

local function make(class, opts)
   local o = options.check("History", opts, { csv = options.optional, jsonl = options.optional })
   check_path("csv", o.csv)
   check_path("jsonl", o.jsonl)
   return setmetatable({ records = {}, columns = {}, known = {}, paths = o, files = {} }, class)
end

-- Text

local function sort_columns(columns)
   table.sort(columns, function(a, b)
      local x, y = FIRST[a] or 99, FIRST[b] or 99
      if x ~= y then
         return x < y
      end
      return a < b
   end)
end

--- RFC 4180: quotes where a comma, a quote or a line's end would be taken for more than they are.
local function cell(value)
   if value == nil then
      return ""
   elseif type(value) == "number" then
      if value ~= value then
         return "nan"
      elseif value - value ~= 0 then
         return value > 0 and "inf" or "-inf"
      end
      return math.type(value) == "integer" and ("%d"):format(value) or ("%.10g"):format(value)
   end
   local text = tostring(value)
   return text:find('[,"\r\n]') and '"' .. text:gsub('"', '""') .. '"' or text
end

--- A record's values, or the names of the columns.
local function csv_line(columns, record)
   local cells = {}
   for i, column in ipairs(columns) do
      cells[i] = cell(record == nil and column or record[column])
   end
   return table.concat(cells, ",") .. "\n"
end

--- One object; what JSON has no number for is null.
local function json_line(record)
   local out = {}
   for key, value in pairs(record) do
      out[key] = type(value) == "number" and value - value ~= 0 and json.null or value
   end
   return json.encode(out) .. "\n"
end

local function line_of(self, kind, record)
   return kind == "csv" and csv_line(self.columns, record) or kind == "jsonl" and json_line(record)
end

-- Files

local function write(self, kind, text)
   local file = self.files[kind]
   local ok, why = file:write(text)
   if ok then
      ok, why = file:flush()
   end
   if not ok then
      return nil, ("%s: %s"):format(self.paths[kind], why)
   end
   return true
end

--- Writes a file anew, beside the old one until it is whole, and goes on adding to it.
local function rewrite(self, kind)
   local path = self.paths[kind]
   local temporary = path .. ".tmp"
   local file, why = io.open(temporary, "wb")
   if not file then
      return nil, why
   end
   if self.files[kind] then
      self.files[kind]:close()
   end
   self.files[kind] = file
   local lines = { kind == "csv" and csv_line(self.columns) or "" }
   for i, record in ipairs(self.records) do
      lines[i + 1] = line_of(self, kind, record)
   end
   local ok
   ok, why = write(self, kind, table.concat(lines))
   if ok then
      ok, why = os.rename(temporary, path)
   end
   return ok, why
end

local function rewrite_all(self)
   for _, kind in ipairs{ "csv", "jsonl" } do
      if self.paths[kind] then
         local ok, why = rewrite(self, kind)
         if not ok then
            return nil, why
         end
      end
   end
   return true
end

local function learn_columns(self, record)
   local more = false
   for key in pairs(record) do
      if not self.known[key] then
         self.known[key], more = true, true
         self.columns[#self.columns + 1] = key
      end
   end
   if more then
      sort_columns(self.columns)
   end
   return more
end

local function check_record(record)
   if type(record) ~= "table" then
      core.raise("History:add: expected a record, got " .. type(record))
   end
   local out = {}
   for key, value in pairs(record) do
      local kind = type(value)
      if type(key) ~= "string" or not utf8.len(key) then
         core.raise(("History:add: keys must be names, got %s"):format(options.text(key)))
      elseif kind ~= "number" and kind ~= "string" and kind ~= "boolean" then
         core.raise(("History:add: %s must be a number, a string or a boolean, got %s"):format(key, kind))
      elseif kind == "string" and not utf8.len(value) then
         core.raise(("History:add: %s must be UTF-8, got %q"):format(key, value))
      end
      out[key] = value
   end
   return out
end

--- Adds a record.
-- @tparam table record numbers, strings and booleans by name
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message with the name of the file that cannot be written; the record is kept in memory
function History:add(record)
   record = check_record(record)
   self.records[#self.records + 1] = record
   local more = learn_columns(self, record)
   for _, kind in ipairs{ "csv", "jsonl" } do
      if self.paths[kind] then
         local ok, why
         if not self.files[kind] or kind == "csv" and more then
            ok, why = rewrite(self, kind)
         else
            ok, why = write(self, kind, line_of(self, kind, record))
         end
         if not ok then
            return nil, why
         end
      end
   end
   return true
end

--- The values of one key, of the records that have it.
-- @tparam string key
-- @treturn {any,...} values
-- @treturn {int,...} the number of each's record
function History:column(key)
   local values, at = {}, {}
   for i, record in ipairs(self.records) do
      if record[key] ~= nil then
         values[#values + 1], at[#at + 1] = record[key], i
      end
   end
   return values, at
end

--- The number of records; `#history` is the same.
function History:__len()
   return #self.records
end

--- The records, as data.
-- @treturn table
function History:state_dict()
   local records = {}
   for i, record in ipairs(self.records) do
      records[i] = options.extend(record, {})
   end
   return { records = records }
end

--- Puts a `state_dict` back, and writes the files anew: what they had beyond it is gone.
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message with the name of the file that cannot be written
function History:load_state_dict(state)
   if type(state) ~= "table" or type(state.records) ~= "table" then
      core.raise("History:load_state_dict: expected a state of a history, got " .. type(state))
   end
   self.records, self.columns, self.known = {}, {}, {}
   for i, record in ipairs(state.records) do
      self.records[i] = check_record(record)
      learn_columns(self, record)
   end
   return rewrite_all(self)
end

--- Makes one.
-- @function History
-- @tparam[opt] table opts `csv`, `jsonl`: names of files to write
return setmetatable(History, { __call = make, __name = "History" })
