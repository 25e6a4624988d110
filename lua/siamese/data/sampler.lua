--- What all samplers share: they are called for one batch of indices after the other, draw from a
-- generator of their own, and can be stopped and resumed.
--
--    for a, b, same in data.pairs(set, { batches = 100, seed = 1 }) do ... end
--
--    local sampler = data.pairs(set, { batches = 100, seed = 1 })
--    local state = sampler:state()     -- plain data: numbers, strings and tables of them
--    sampler:restore(state)            -- goes on where it was then
--
-- A sampler with an end (`batches`, `episodes`, or once through the set) gives nil there; called again it
-- begins the next epoch, with other batches.
--
-- @module siamese.data.sampler
local core = require "siamese.core"
local options = require "siamese.options"

local M = {}

--- @type Sampler
local Sampler = {}
Sampler.__index = Sampler

--- Makes a sampler.
-- @tparam table parts `name` (for messages); `limit` (batches of an epoch, nil for no end); `seed`;
--   `lists` (how many of the values that come first are lists of indices, default 1); `aligned` (whether
--   these lists, and what comes with them, belong together place by place, default true);
--   `others_of(indices)` (what comes with a list of which some are left out, where it is not aligned);
--   `draw(generator, own)`, which gives a batch; `own`, plain data that draw changes;
--   `begin(generator, own)`, called when an epoch begins. A field `frozen` is plain data, too, and
--   replaced rather than changed, so that a state need not copy it; by `freeze`, so that a loader which has
--   drawn ahead notices.
-- @treturn Sampler
function M.new(parts)
   options.check_seed(parts.name, parts.seed)
   local self = {}
   for key, value in pairs(parts) do
      self[key] = value
   end
   self.own = parts.own or {}
   self.lists = parts.lists or 1
   self.aligned = parts.aligned ~= false
   self.generator = core.Generator(parts.seed)
   self.done, self.frozen_count = 0, 0
   return setmetatable(self, Sampler)
end

--- A sampler that goes once through n places in batches.
-- @tparam string name
-- @tparam int n
-- @tparam table o `batch_size`, `shuffle`, `drop_last`, `seed`
-- @tparam int lists as for `new`
-- @tparam function take gives the batch of some places (int64 [B])
-- @treturn Sampler
function M.once(name, n, o, lists, take)
   local size, order = o.batch_size, nil
   local function begin(_, generator, own)
      own.batch = 0
      order = o.shuffle and generator:permutation(n) or core.arange(1, n + 1, { dtype = "int64" })
   end
   local function draw(_, own)
      local first = own.batch * size + 1
      own.batch = own.batch + 1
      return take(order:narrow(1, first, math.min(size, n - first + 1)))
   end
   return M.new{ name = name, limit = o.drop_last and n // size or (n + size - 1) // size, seed = o.seed,
      lists = lists, begin = begin, draw = draw }
end

--- Draws by other data from the next batch on.
-- @tparam table data plain data, not to be changed any more
function Sampler:freeze(data)
   self.frozen, self.frozen_count = data, self.frozen_count + 1
end

local function copy(value)
   if type(value) ~= "table" then
      return value
   end
   local out = {}
   for key, item in pairs(value) do
      out[key] = copy(item)
   end
   return out
end

--- The values of the next batch; nil at the end of an epoch.
-- @function Sampler:__call
function Sampler:__call()
   if self.limit and self.done >= self.limit then
      self.done = 0
      return nil
   end
   if self.done == 0 then
      self.began = self.generator:get_state()
      if self.begin then
         self:begin(self.generator, self.own)
      end
   end
   self.done = self.done + 1
   return self.draw(self.generator, self.own)
end

--- The number of batches of an epoch.
-- @treturn number math.huge when it has no end
function Sampler:__len()
   return self.limit or math.huge
end

--- Where it stands, as plain data that can be written to a file.
-- @treturn table
function Sampler:state()
   return { sampler = self.name, done = self.done, generator = self.generator:get_state(),
      began = copy(self.began), own = copy(self.own), frozen = self.frozen }
end

--- What is in each state, and its type.
local PARTS = { { "done", "number" }, { "generator", "table" }, { "own", "table" } }

local function check_state(self, state)
   if type(state) ~= "table" or state.sampler ~= self.name then
      core.raise(("%s: expected a state of its own, got %s"):format(self.name,
         type(state) == "table" and "one of " .. tostring(state.sampler) or type(state)))
   end
   for _, part in ipairs(PARTS) do
      if type(state[part[1]]) ~= part[2] then
         core.raise(("%s: the state's '%s' must be a %s, got %s"):format(self.name, part[1], part[2],
            type(state[part[1]])))
      end
   end
   if self.begin and state.done > 0 and type(state.began) ~= "table" then
      core.raise(("%s: the state's 'began' must be a table, got %s"):format(self.name, type(state.began)))
   end
end

--- Goes on from a state of a sampler of the same kind, set and options.
-- @tparam table state
-- @treturn Sampler itself
function Sampler:restore(state)
   check_state(self, state)
   if self.begin and state.done > 0 then -- what begin made is not kept: it makes it again
      self.generator:set_state(state.began)
      self:begin(self.generator, self.own)
   end
   self.done, self.began, self.own = state.done, copy(state.began), copy(state.own)
   self.frozen = state.frozen
   self.generator:set_state(state.generator)
   return self
end

--- "data.pairs: 30 of 100 batches".
function Sampler:__tostring()
   return ("%s: %d%s batches"):format(self.name, self.done,
      self.limit and " of " .. self.limit or "")
end

--- Whether a value is one.
function M.is(value)
   return getmetatable(value) == Sampler
end

-- Checks for those who make samplers.

--- Raises at whoever called the sampler's maker.
function M.fail(name, text, ...)
   core.raise(name .. ": " .. text:format(...))
end

function M.check_positive(name, key, value)
   if math.type(value) ~= "integer" or value < 1 then
      M.fail(name, "%s must be a positive integer, got %s", key, tostring(value))
   end
end

--- Checks how many batches an epoch has; nil for no end.
function M.check_limit(name, key, value)
   if value ~= nil and (math.type(value) ~= "integer" or value < 1) then
      M.fail(name, "%s must be an integer of at least 1, or nil for no end, got %s", key, options.text(value))
   end
end

function M.int64(list)
   return #list == 0 and core.zeros(0, { dtype = "int64" }) or core.tensor(list, { dtype = "int64" })
end

return M
