--- Pairs that are given, not drawn: of which two images is each, and are they of one class. The test
-- protocols of verification are such lists.
-- @module siamese.data.pair_list
local core = require "siamese.core"
local is_tensor = require "siamese.data.labels".is_tensor
local options = require "siamese.options"
local sampler = require "siamese.data.sampler"
local sets = require "siamese.data.set"

local M = {}

--- @type PairList
local PairList = { __name = "PairList" }
PairList.__index = PairList

local function check_indices(key, list, n, count)
   if list:dim() ~= 1 or count and list:size(1) ~= count then
      core.raise(("data.pair_list: %s must be a list of %s"):format(key,
         count and count .. " values, as many as a" or "indices"))
   end
   if list:numel() > 0 and (list:min():item() < 1 or list:max():item() > n) then
      core.raise(("data.pair_list: %s has an index that is not from 1 to %d (the images)"):format(key, n))
   end
end

local FLAGS = { [true] = 1, [false] = 0, [1] = 1, [0] = 0 }

--- 1 for true, 0 for false, in float32.
local function flags(same)
   if is_tensor(same) then
      same = same:float()
      if same:numel() > 0 and (same:ne(0):float() * same:ne(1):float()):max():item() > 0 then
         core.raise("data.pair_list: same has a value that is neither 1 nor 0")
      end
      return same
   elseif type(same) ~= "table" then
      core.raise("data.pair_list: same must be a list, got " .. type(same))
   end
   local out = {}
   for i, value in ipairs(same) do
      out[i] = FLAGS[value]
      if not out[i] then
         core.raise(("data.pair_list: same[%d] must be true, false, 1 or 0, got %s"):format(i,
            options.text(value)))
      end
   end
   return #out == 0 and core.zeros(0) or core.tensor(out)
end

--- Makes a list of pairs of a set's images.
-- @tparam table fields `set`; `a`, `b` ([P], int64 or lists of indices); `same` ([P]: 1 or true for a pair of
--   one class, else 0 or false); `fold` (optional list of P integers: which part of a protocol each pair
--   belongs to); `name` (optional)
-- @treturn PairList
-- @usage local pairs = data.pair_list{ set = set, a = { 1, 3 }, b = { 2, 4 }, same = { true, false } }
function M.new(fields)
   local o = options.check("data.pair_list", fields, { set = options.required, a = options.required,
      b = options.required, same = options.required, fold = options.optional, name = "pairs",
      skipped = options.optional })
   sets.check("data.pair_list", o.set, true)
   local function check()
      local n = o.set.labels:size(1)
      o.a = sets.indices("data.pair_list: a", o.a)
      o.b = sets.indices("data.pair_list: b", o.b)
      check_indices("a", o.a, n)
      check_indices("b", o.b, n, o.a:size(1))
      o.same = flags(o.same)
      if o.same:dim() ~= 1 or o.same:size(1) ~= o.a:size(1) then
         core.raise("data.pair_list: same must have as many values as a")
      elseif o.fold and (type(o.fold) ~= "table" or #o.fold ~= o.a:size(1)) then
         core.raise("data.pair_list: fold must have as many values as a")
      end
   end
   check()
   o.skipped = o.skipped or {}
   return setmetatable(o, PairList)
end

--- The number of pairs.
function PairList:__len()
   return self.a:size(1)
end

--- Some of the pairs.
-- @tparam {int,...}|tensor indices [K]
-- @treturn PairList
function PairList:subset(indices)
   local places = sets.indices("PairList:subset", indices)
   local fold
   if self.fold then
      fold = {}
      for i, place in ipairs(places:totable()) do
         fold[i] = self.fold[place]
      end
   end
   return M.new{ set = self.set, a = self.a:index_select(1, places), b = self.b:index_select(1, places),
      same = self.same:index_select(1, places), fold = fold, name = self.name }
end

--- The folds of a protocol, in the order of their numbers; one that holds all pairs where there are none.
-- @treturn {PairList,...}
function PairList:folds()
   if not self.fold then
      return { self }
   end
   local places, numbers, out = {}, {}, {}
   for i, number in ipairs(self.fold) do
      if not places[number] then
         places[number] = {}
         numbers[#numbers + 1] = number
      end
      table.insert(places[number], i)
   end
   table.sort(numbers)
   for k, number in ipairs(numbers) do
      out[k] = self:subset(places[number])
      out[k].name = ("%s, fold %d"):format(self.name, number)
   end
   return out
end

--- All pairs once, in batches: a sampler, for loops and for `data.loader`.
-- @tparam[opt] table opts `batch_size` (default 64); `shuffle` (default false); `seed`; `drop_last`
-- @treturn Sampler over a [B], b [B] (int64 indices) and same [B] (float32)
-- @usage for a, b, same in data.loader(pairs.set, { sampler = pairs:batches() }) do ... end
function PairList:batches(opts)
   local name = "PairList:batches"
   local o = options.check(name, opts, { batch_size = 64, shuffle = false, seed = options.optional,
      drop_last = false })
   options.check_count(name, o, "batch_size", 1)
   return sampler.once(name, #self, o, 2, function(places)
      return self.a:index_select(1, places), self.b:index_select(1, places), self.same:index_select(1, places)
   end)
end

--- "pairsDevTest: 1000 pairs, 500 same, of 9407 images".
function PairList:__tostring()
   local same = #self > 0 and math.tointeger(self.same:sum():item()) or 0
   local text = ("%s: %d pairs, %d same, of %d images"):format(self.name, #self, same, #self.set)
   return #self.skipped > 0 and ("%s; %d pairs left out"):format(text, #self.skipped) or text
end

return M
