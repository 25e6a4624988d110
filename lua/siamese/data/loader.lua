--- Batches of images, made by threads ahead of the step that uses them.
--
--    for images, labels, indices in data.loader(set, { batch_size = 64, workers = 2, seed = 1 }) do
--       ...
--    end
--
-- The workers decode, resize and gather; how many they are changes nothing in what comes. `break`,
-- errors and the loop's end stop them. A loader may be kept, too:
--
--    local loader = data.loader(set, { sampler = data.pairs(set, { batches = 500, seed = 1 }) })
--    for epoch = 1, 10 do
--       for a, b, same in loader:epoch() do ... end
--    end
--
-- @module siamese.data.loader
local core = require "siamese.core"
local folder = require "siamese.data.folder"
local is_tensor = require "siamese.data.labels".is_tensor
local options = require "siamese.options"
local sampler = require "siamese.data.sampler"
local samplers = require "siamese.data.samplers"
local sets = require "siamese.data.set"
local transform = require "siamese.augment.transform"

local M = {}

--- @type Loader
local Loader = { __name = "Loader" }
Loader.__index = Loader

local NAME = "data.loader"
local OPTIONS = { batch_size = options.optional, sampler = options.optional, shuffle = options.optional,
   drop_last = options.optional, workers = options.optional, prefetch = 4, seed = options.optional,
   augment = options.optional, cache = false, dtype = "float32", on_error = options.optional,
   lists = options.optional }
local MOST_WORKERS = 256
local STATES = 64 -- batches between two states of the sampler that are kept

-- Options

local function is_callable(value)
   local meta = getmetatable(value)
   return type(value) == "function" or type(meta) == "table" and meta.__call ~= nil
end

--- What of the augmentation the workers can do: a transform that calls no functions of the script.
local function workers_pipeline(augment)
   return transform.is(augment) and #augment.functions == 0 and augment:pipeline() or nil
end

--- The bytes that may be kept: a number, all (true) or none.
local function cache_limit(cache)
   if type(cache) == "boolean" then
      return cache and math.maxinteger or 0
   elseif math.type(cache) ~= "integer" or cache < 0 then
      core.raise(("%s: cache must be true, false or a number of bytes, got %s"):format(NAME,
         options.text(cache)))
   end
   return cache
end

local function check_workers(o)
   if o.workers == nil then
      o.workers = math.min(core.get_threads(), 8)
   end
   options.check_count(NAME, o, "workers", 0)
   options.check_count(NAME, o, "prefetch", 1)
   if o.workers > MOST_WORKERS or o.prefetch > 4096 then
      core.raise(("%s: at most %d workers and 4096 batches ahead, got %d and %d"):format(NAME, MOST_WORKERS,
         o.workers, o.prefetch))
   end
end

--- The sampler that was given, or one that goes through the set.
local function choose_sampler(set, o)
   local given = o.sampler
   if given == nil then
      return samplers.batches(set, { batch_size = o.batch_size or 64, shuffle = o.shuffle ~= false,
         drop_last = o.drop_last or false, seed = o.seed })
   end
   for _, key in ipairs{ "batch_size", "shuffle", "drop_last" } do
      if o[key] ~= nil then
         core.raise(("%s: %s is the sampler's affair where there is one"):format(NAME, key))
      end
   end
   if not is_callable(given) then
      core.raise(("%s: sampler must be a sampler or a function that gives lists of indices, got %s"):format(
         NAME, type(given)))
   end
   return given
end

local function check(set, opts)
   local o = options.check(NAME, opts, OPTIONS)
   if type(set) ~= "table" or not set.labels or not (set.pictures or set.images) then
      core.raise(("%s: expected a data set, got a %s"):format(NAME, type(set)))
   end
   check_workers(o)
   options.check_seed(NAME, o.seed)
   options.check_choice(NAME, o, "dtype", { "float32", "uint8" })
   o.on_error = folder.check_on_error(NAME, o.on_error) or set.on_error or "raise"
   if o.augment ~= nil and not is_callable(o.augment) then
      core.raise(("%s: augment must be a transform or a function of images, got %s"):format(NAME,
         type(o.augment)))
   elseif set.pictures and not set:shape() and not workers_pipeline(o.augment) then
      core.raise(NAME .. ": the pictures may have any size: give the set one, or augment them by a transform "
         .. "without functions of the script that makes them one size")
   end
   if o.lists ~= nil then
      options.check_count(NAME, o, "lists", 1)
   end
   return o
end

-- Asking for batches

local function start(self)
   local pipeline = workers_pipeline(self.augment)
   self.native = core.loading.loader(self.set.pictures or self.set.images, { workers = self.workers,
      depth = self.workers > 0 and self.prefetch or 1, dtype = self.dtype,
      seed = pipeline and self.augment.seed or self.seed }, pipeline)
   self.queue, self.ended = {}, false
end

--- Where the sampler stands, every now and then: the loader's own state lies between.
local function keep_state(self)
   if not sampler.is(self.sampler) then
      return
   end
   local states = self.states
   if #states == 0 or self.drawn - states[#states].drawn >= STATES then
      states[#states + 1] = { drawn = self.drawn, sampler = self.sampler:state() }
   end
   while states[2] and states[2].drawn <= self.given do
      table.remove(states, 1)
   end
end

--- Draws a batch of indices and asks for its pictures.
-- @treturn boolean false at the end of the epoch
-- @treturn ?string what was wrong with the indices
local function ask(self)
   keep_state(self)
   local values = table.pack(self.sampler())
   if values[1] == nil then
      return false
   end
   local rows, lists, native = self.set.rows, {}, {}
   for k = 1, self.lists do
      lists[k] = sets.indices(NAME, values[k])
      native[k] = rows and rows:index_select(1, lists[k]) or lists[k]
   end
   local ok, done, message = pcall(self.native.push, self.native, self.drawn + 1, table.unpack(native))
   if not ok or not done then
      return false, ok and message or options.without_position(done)
   end
   self.drawn = self.drawn + 1
   self.queue[self.drawn] = { lists = lists,
      others = table.pack(table.unpack(values, self.lists + 1, values.n)) }
   return true
end

-- Pictures that cannot be read

--- Lists a picture that is left out; gives the message when it may not be.
local function refuse(self, index, message)
   local path, on_error = sets.name(self.set, index), self.on_error
   if on_error == "raise" or type(on_error) == "function" and on_error(path, message) == false then
      return message
   elseif not self.left_out[index] then
      self.left_out[index] = true
      self.skipped[#self.skipped + 1] = { path = path, message = message }
   end
end

--- What could not be read, in the order of places.
local function failed_places(failures, lists)
   local failed = {}
   for k, messages in ipairs(failures) do
      for place, message in pairs(messages) do
         failed[#failed + 1] = { list = k, place = place, index = lists[k][place]:item(), message = message }
      end
   end
   table.sort(failed, function(a, b)
      return a.place < b.place or a.place == b.place and a.list < b.list
   end)
   return failed
end

--- Keeps the places `stay` of all tensors that have `count` of them.
local function select_all(list, stay, count)
   for i = 1, list.n or #list do
      local value = list[i]
      if is_tensor(value) and value:dim() > 0 and value:size(1) == count then
         list[i] = value:index_select(1, stay)
      end
   end
end

--- Leaves out what could not be read, on all sides of a pair.
-- @treturn number how many places are left, or nil
-- @treturn ?string the message to raise
local function leave_out(self, failures, batch, images)
   if failures.misuse then
      return nil, failures.misuse
   end
   local from, failed = self.sampler, failed_places(failures, batch.lists)
   local known = sampler.is(from)
   local gone, stay, count = {}, {}, batch.lists[1]:size(1)
   for _, item in ipairs(failed) do
      local message = refuse(self, item.index, item.message)
      if message then
         return nil, message
      elseif known and not from.aligned then
         return nil, ("%s cannot do without a picture: %s"):format(from.name, item.message)
      end
      gone[item.place] = true
   end
   for place = 1, count do
      stay[#stay + 1] = not gone[place] and place or nil
   end
   stay = sampler.int64(stay)
   select_all(images, stay, count)
   select_all(batch.lists, stay, count)
   if known and from.others_of then
      batch.others = table.pack(from.others_of(batch.lists[1]))
   else
      select_all(batch.others, stay, count)
   end
   return stay:size(1)
end

-- Taking them

--- What a function of the script made of images.
local function made_by(...)
   local made = ...
   if not is_tensor(made) then
      core.raise(("%s: augment returned %s: expected a tensor [N,C,H,W], got %s"):format(NAME,
         made == nil and "nothing" or "no tensor", type(made)))
   end
   return made
end

--- Augments the images of one list, where that is not the workers' affair. A transform's numbers are those
-- that the workers would draw.
local function augmented(self, images, k)
   local augment = self.augment
   if not augment or workers_pipeline(augment) then
      return images
   elseif not transform.is(augment) then
      return made_by(augment(images))
   end
   augment.seed = augment.seed or self.seed
   local places = core.arange(1, images:size(1) + 1, { dtype = "int64" })
   local made = transform.apply(augment, images, { indices = places, epoch = self.given, side = k - 1 })
   return made
end

--- The images, what comes with them, and the lists of indices.
local function values_of(self, batch, images)
   local out = {}
   for k = 1, self.lists do
      out[k] = augmented(self, images[k], k)
   end
   local others = batch.others
   if others.n == 0 and self.lists == 1 then
      others = table.pack(self.set.labels:index_select(1, batch.lists[1]))
   end
   table.move(others, 1, others.n, #out + 1, out)
   local n = self.lists + others.n
   for k, list in ipairs(batch.lists) do
      out[n + k] = list
   end
   return table.unpack(out, 1, n + self.lists)
end

--- Asks for as many batches as there is room for.
-- @treturn ?string what went wrong
local function fill(self)
   while not self.ended and self.native:has_room() do
      local more, message = ask(self)
      if message then
         return message
      end
      self.ended = not more
   end
end

--- The next batch and its images, whole or what is left of it; nil at the end of the epoch, or nil and a
-- message.
local function take(self)
   while true do
      local message = fill(self)
      local got = table.pack(self.native:pop())
      local drawn, failures = got[1], got[2]
      if message or drawn == nil then
         return nil, message
      end
      local batch = self.queue[drawn]
      self.queue[drawn] = nil
      local images = table.move(got, 3, got.n, 1, { n = self.lists })
      local left = 1
      if failures then
         left, message = leave_out(self, failures, batch, images)
      end
      if message then
         return nil, message
      end
      self.given, self.over = drawn, false
      if left > 0 then
         return batch, images
      end
   end
end

--- Where it stands, by the last state of the sampler that was kept.
local function state_of(self)
   local kept
   for _, state in ipairs(self.states) do
      kept = state.drawn <= self.given and state or kept
   end
   kept = kept or { drawn = self.given, sampler = self.sampler:state() }
   return { given = self.given, over = self.over, drawn = kept.drawn, sampler = kept.sampler,
      seed = self.seed }
end

--- Where the sampler has been told to draw by something else: gives up what was drawn ahead by what it knew
-- before, so that how many batches that were changes nothing.
-- @treturn boolean whether there were such batches, whose workers are stopped now
local function heed_sampler(self)
   local from = self.sampler
   if not sampler.is(from) or from.frozen_count == self.frozen_count then
      return false
   end
   local frozen, ahead = from.frozen, self.drawn ~= self.given
   if ahead then
      self:restore(state_of(self))
      from.frozen = frozen
   end
   self.states, self.frozen_count = {}, from.frozen_count
   return ahead
end

--- The next batch: images for each list of the sampler, what else the sampler gives (of one list, the
-- labels), and the lists of indices; nil at the end of an epoch, after which the next one begins.
-- @function Loader:__call
function Loader:__call()
   heed_sampler(self)
   if not self.native then
      start(self)
   end
   local batch, images = take(self)
   if batch then
      return values_of(self, batch, images)
   end
   self.over = images == nil
   self:stop()
   if images then
      core.raise(NAME .. ": " .. images)
   end
   return nil
end

--- One epoch, for a `for` loop; the workers stop when the loop ends, however it does.
-- @usage for images, labels in loader:epoch() do ... end
function Loader:epoch()
   return self, nil, nil, self
end

-- Stopping and resuming

--- Lets a sampler that has given all batches of its epoch begin the next one.
local function end_epoch(from)
   if from.limit and from.done >= from.limit then
      from()
   end
end

--- Stops the workers. What they have made ahead is drawn again by the next call, so that nothing is lost;
-- a function that samples cannot be asked again, and what it gave is. Behind the last batch of an epoch the
-- next call begins another.
function Loader:stop()
   local native = self.native
   if not native or heed_sampler(self) then
      return
   end
   self.native, self.queue = nil, nil
   native:stop()
   if not sampler.is(self.sampler) then
      self.drawn = self.given
   elseif self.drawn ~= self.given then
      self:restore(self:state())
   else
      end_epoch(self.sampler)
      self.over, self.states = self.over or self.sampler.done == 0, {}
   end
end

Loader.__close = Loader.stop

--- Where it stands, behind the last batch that it gave, as plain data.
-- @treturn table
-- @usage local state = loader:state()  -- later, in another process: loader:restore(state)
function Loader:state()
   if not sampler.is(self.sampler) then
      core.raise(NAME .. ": only the samplers of siamese.data have a state")
   end
   heed_sampler(self)
   return state_of(self)
end

--- Goes on from a state of a loader with the same set and options.
-- @tparam table state
-- @treturn Loader itself
function Loader:restore(state)
   if type(state) ~= "table" or math.type(state.given) ~= "integer" or type(state.sampler) ~= "table" then
      core.raise(NAME .. ": expected a state of a loader")
   end
   local native = self.native
   self.native, self.queue = nil, nil
   if native then
      native:stop()
   end
   self.sampler:restore(state.sampler)
   for _ = state.drawn + 1, state.given do
      if self.sampler() == nil then
         self.sampler() -- the first batch of the next epoch
      end
   end
   if state.over then
      end_epoch(self.sampler)
   end
   self.drawn, self.given, self.over, self.seed = state.given, state.given, state.over, state.seed
   self.states = {}
   return self
end

--- "data.loader: 2 workers, 4 batches ahead, 17 given".
function Loader:__tostring()
   return ("%s: %d workers, %d batches ahead, %d given"):format(NAME, self.workers, self.prefetch, self.given)
end

--- Makes a loader.
--
-- What comes, for each batch: images of each list of indices that the sampler gives (float32 in [0,1]
-- [B,C,H,W]), the sampler's other values, and the lists. So `batches` and `class_batches` give images,
-- labels, indices; `pairs` images of a, images of b, same, a, b; `triplets` three images and three lists;
-- `episodes` images of support and query, labels, support, query; `all_pairs` images, a, b, same, indices. A
-- function that gives one list of indices gets the set's labels beside its images.
--
-- A loader is also the iterator of an epoch and ends it when the loop ends: it may be used right in a
-- `for`. Two loaders may share a set, its files and what is kept of them.
-- @tparam Set set in memory, or a stream
-- @tparam[opt] table opts
--   `batch_size` (default 64), `shuffle` (default true), `drop_last` (default false): once through the set;
--   or `sampler` (any of `siamese.data`, or a function that gives the values of a batch, nil at the end of
--   an epoch; `lists` says how many of its first values are lists of indices, default 1);
--   `workers` (threads, default as many as the core's, at most 8; 0: the images are made when they are
--   wanted, on the threads of `siamese.set_threads`); `prefetch` (batches that are made ahead, default
--   4); `seed` (of the order, and of augmentation that has none of its own); `augment` (a transform of
--   `siamese.augment`, which the workers run, each place of each batch and list by numbers of its own; a
--   transform with functions of the script in it, or a function of a batch of images, is called for each
--   list by the script's own thread, when the batch has come); `cache` (of a stream: true keeps all
--   decoded pictures in memory, a number up to so many bytes, default false; what is kept stays with the
--   set); `dtype` ("float32" or, for bytes, "uint8"); `on_error` ("raise", the default, with the file's
--   name; "skip", which leaves the picture, and the pair it belongs to, out and lists it in the loader's
--   `skipped`; or a function of path and message: what it is called for is skipped unless it returns
--   false)
-- @treturn Loader
-- @usage
-- for a, b, same in data.loader(set, { sampler = data.pairs(set, { batches = 100, seed = 1 }) }) do
--    loss(twin(a, b), same):backward()
-- end
function M.loader(set, opts)
   local o = check(set, opts)
   local limit, chosen = cache_limit(o.cache), choose_sampler(set, o)
   if set.pictures and limit > 0 then
      set.pictures:cache(limit)
   end
   local self = setmetatable({ set = set, sampler = chosen, workers = o.workers, prefetch = o.prefetch,
      dtype = o.dtype, augment = o.augment, on_error = o.on_error,
      seed = o.seed or core.Generator():random(math.maxinteger),
      lists = o.lists or sampler.is(chosen) and chosen.lists or 1,
      drawn = 0, given = 0, over = false, states = {}, skipped = {}, left_out = {},
      frozen_count = sampler.is(chosen) and chosen.frozen_count or nil }, Loader)
   return self, nil, nil, self
end

return M
