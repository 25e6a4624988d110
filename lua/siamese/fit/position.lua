--- Where training stands in its data, and how to get there again: the iterator of `siamese.fit`.
--
-- An iterator is made by a factory for each epoch. To come back to a place in another process, the factory
-- is called again with the random numbers of then, and the iterator is called as often as it was (or, if it
-- can give its state and take it back, is given that). A factory may hand out one and the same iterator for
-- several epochs: then calls count on.
-- @module siamese.fit.position
local core = require "siamese.core"
local checkpoint = require "siamese.checkpoint"

local M = {}

--- @type Position
local Position = {}
Position.__index = Position

--- @tparam function data the factory, called with the number of the epoch
-- @tparam table things by name, whose random numbers go back together with siamese's own
function M.new(data, things)
   return setmetatable({ data = data, things = things, calls = 0 }, Position)
end

local function callable(value)
   local meta = getmetatable(value)
   return type(value) == "function" or type(meta) == "table" and meta.__call ~= nil
end

--- Whether an iterator says that it can give all of its state. A generator in a field is not all of it.
local function is_resumable(iterator)
   if type(iterator) == "function" or not checkpoint.has_state(iterator) then
      return false
   end
   for _, name in ipairs{ "state_dict", "get_state", "state" } do
      if type(iterator[name]) == "function" then
         return true
      end
   end
   return false
end

--- The states of all that draws random numbers.
function M.random_of(things)
   local states = {}
   for name, thing in pairs(things) do
      states[name] = checkpoint.state_of(thing)
   end
   return { core = core.get_rng_state(), things = states }
end

function M.set_random(things, random)
   for name, thing in pairs(things) do
      checkpoint.restore(thing, random.things[name])
   end
   core.set_rng_state(random.core)
end

local function make(self, epoch)
   local iterator = self.data(epoch)
   if not callable(iterator) then
      local kind = core.is_tensor(iterator) and "a tensor" or type(iterator)
      error(("siamese.fit: data must be a function that gives an iterator for each epoch; it gave %s (write "
         .. "data = function(epoch) return data.class_batches(set, ...) end)"):format(kind), 0)
   end
   return iterator
end

--- Begins an epoch.
function Position:begin(epoch)
   self.ended = false
   local random = M.random_of(self.things)
   local iterator = make(self, epoch)
   if iterator ~= self.iterator then
      self.iterator, self.since, self.calls, self.random = iterator, epoch, 0, random
   end
end

--- The next batch's values, as table.pack gives them; nil at the end of the epoch, however often it is asked:
-- an iterator that goes on to its next pass when it is called once more is not.
function Position:next()
   if self.ended then
      return nil
   end
   self.calls = self.calls + 1
   local batch = table.pack(self.iterator())
   self.ended = batch[1] == nil
   return not self.ended and batch or nil
end

--- What `go_to` needs.
-- @treturn table data
function Position:state()
   return { since = self.since, calls = self.calls, random = self.random, ended = self.ended,
      iterator = is_resumable(self.iterator) and checkpoint.state_of(self.iterator) or nil }
end

--- Makes the iterator again and brings it to where it was. The random numbers are then those of some moment
-- in between: the caller sets them.
function Position:go_to(state)
   M.set_random(self.things, state.random)
   self.iterator = make(self, state.since)
   self.since, self.calls, self.random, self.ended = state.since, state.calls, state.random, state.ended
   if state.iterator and is_resumable(self.iterator) then
      checkpoint.restore(self.iterator, state.iterator)
      return
   end
   for _ = 1, state.calls do
      self.iterator()
   end
end

return M
