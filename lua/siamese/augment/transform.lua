--- What all augmentations share: they are called with pictures, and they can be put together.
-- @module siamese.augment.transform
local core = require "siamese.core"
local options = require "siamese.options"

local imaging = core.imaging

--- @type Transform
local Transform = { __name = "Transform" }
Transform.__index = Transform

local M = { Transform = Transform }

-- Programs: the list of steps that the core runs (csrc/image/steps.h), which counts them from 0.

local flatten

local function add_all(children, program)
   for _, child in ipairs(children) do
      flatten(child, program)
   end
end

local function add_sometimes(node, program)
   local step = { kind = "sometimes", name = node.name, p = node.p }
   program[#program + 1] = step
   add_all(node.children, program)
   step.to = #program
end

--- Branches that each end by a step `closing`, which knows where all end (`to`) or the step itself.
local function add_branches(node, program, kind, closing)
   local step = { kind = kind, name = node.name, start = {}, weight = node.weights }
   program[#program + 1] = step
   local at, ends = #program - 1, {}
   for i, child in ipairs(node.children) do
      step.start[i] = #program
      flatten(child, program)
      ends[i] = { kind = closing, name = node.name, to = at, branch = i - 1 }
      program[#program + 1] = ends[i]
   end
   step.to = #program
   for _, one in ipairs(closing == "jump" and ends or {}) do
      one.to = #program
   end
end

function flatten(node, program)
   if type(node) == "function" then
      program.functions[#program.functions + 1] = node
      program[#program + 1] = { kind = "call", name = "function", to = 0,
         call = #program.functions }
   elseif node.kind == "all" then
      add_all(node.children, program)
   elseif node.kind == "sometimes" then
      add_sometimes(node, program)
   elseif node.kind == "one" then
      add_branches(node, program, "choice", "jump")
   elseif node.kind == "order" then
      add_branches(node, program, "order", "next")
   else
      program[#program + 1] = node.step
   end
end

-- Making

--- A transform with a pipeline of its own.
-- @tparam table node `name`, and `step` (a step of the core) or `kind` and `children`
-- @tparam table o options as given, for its text; `seed` is taken from them
function M.new(node, o)
   if o.seed ~= nil and math.type(o.seed) ~= "integer" then
      core.raise(("%s: seed must be an integer, got %s"):format(node.name, options.text(o.seed)))
   end
   local program = { functions = {} }
   flatten(node, program)
   local pipeline, message = imaging.pipeline(program)
   if not pipeline then
      core.raise(message)
   end
   node.options, node.seed, node.count = o, o.seed, 0
   node.compiled, node.functions = pipeline, program.functions
   return setmetatable(node, Transform)
end

--- Whether a value is one.
function M.is(value)
   return type(value) == "table" and getmetatable(value) == Transform
end

-- Running

local function shape_text(x)
   return core.is_tensor(x) and ("%s [%s]"):format(x.dtype, table.concat(x.shape, ","))
      or type(x)
end

--- [N,C,H,W] of a picture or a batch.
local function check_images(self, x)
   local dims = core.is_tensor(x) and x.dtype ~= "int64" and x:dim()
   if dims ~= 3 and dims ~= 4 then
      core.raise(("%s: needs uint8 or float32 images [C,H,W] or [N,C,H,W], got %s"):format(self.name,
         shape_text(x)))
   end
   return (dims == 3 and x:unsqueeze(1) or x):detach()
end

local CALL = { indices = options.optional, epoch = 0, side = 0 }

--- The numbers of n samples: those given, or the next ones.
local function sample_numbers(self, n, o)
   local indices = o.indices
   if indices == nil then
      self.count = self.count + n
      return core.arange(self.count - n + 1, self.count + 1, { dtype = "int64" })
   end
   indices = type(indices) == "table" and (#indices == 0 and core.zeros(0, { dtype = "int64" })
      or core.tensor(indices, { dtype = "int64" })) or indices
   if not core.is_tensor(indices) or indices.dtype ~= "int64" or indices:dim() ~= 1
      or indices:size(1) ~= n then
      core.raise(("%s: indices must be a list or an int64 tensor of %d, one an image, got %s")
         :format(self.name, n, shape_text(indices)))
   end
   return indices
end

--- Calls the script's functions that samples wait for; returns the numbers of those that go on.
local function call_functions(self, state, made, calls, nexts, key)
   local waiting = {}
   for i, k in ipairs(state.waiting) do
      local x = made[i]
      if calls[i] then
         local generator = imaging.sample_generator(nexts[i], state.indices[k]:item(), key.seed, key.epoch,
            key.side)
         x = self.functions[calls[i]](x, generator)
         if not core.is_tensor(x) or x.dtype == "int64" or x:dim() ~= 3 then
            core.raise(("%s: a function among the steps must return uint8 or float32 [C,H,W], got %s"):format(
               self.name, shape_text(x)))
         end
         waiting[#waiting + 1] = k
         state.starts[k] = nexts[i]
      end
      state.pictures[k] = x
   end
   state.waiting = waiting
end

local function pick(list, indices)
   local out = {}
   for i, index in ipairs(indices) do
      out[i] = list[index]
   end
   return out
end

local function stack(self, pictures)
   for i = 2, #pictures do
      if pictures[i].dtype ~= pictures[1].dtype
         or table.concat(pictures[i].shape, ",") ~= table.concat(pictures[1].shape, ",") then
         core.raise(("%s: sample %d became %s, the first %s: images of a batch must end alike"):format(
            self.name, i, shape_text(pictures[i]), shape_text(pictures[1])))
      end
   end
   return core.stack(pictures)
end

--- With functions of the script among the steps: the core runs all samples to their next function, then
-- those are called, sample after sample.
local function run_with_functions(self, x, indices, key)
   local n = x:size(1)
   if n == 0 then
      return x
   end
   local state = { pictures = {}, starts = {}, waiting = {}, indices = indices }
   for i = 1, n do
      state.pictures[i], state.starts[i], state.waiting[i] = x[i], 0, i
   end
   while #state.waiting > 0 do
      local made, calls, nexts = imaging.augment_to_call(self.compiled, pick(state.pictures, state.waiting),
         pick(state.starts, state.waiting),
         indices:index_select(1, core.tensor(state.waiting, { dtype = "int64" })), key.seed, key.epoch,
         key.side)
      if not made then
         core.raise(calls)
      end
      call_functions(self, state, made, calls, nexts, key)
   end
   return stack(self, state.pictures)
end

local function run(self, x, o)
   local batch = check_images(self, x)
   local indices = sample_numbers(self, batch:size(1), o)
   self.seed = self.seed or core.Generator():random(1 << 62)
   local y, message
   if #self.functions > 0 then
      y = run_with_functions(self, batch, indices, { seed = self.seed, epoch = o.epoch, side = o.side })
   else
      y, message = imaging.augment(self.compiled, batch, indices, self.seed, o.epoch, o.side)
      if not y then
         core.raise(message)
      end
   end
   return x:dim() == 3 and y:squeeze(1) or y
end

local function check_call(self, opts, spec)
   local o = options.check(self.name, opts, spec)
   for _, key in ipairs{ "epoch", "side" } do
      if o[key] ~= nil and math.type(o[key]) ~= "integer" then
         core.raise(("%s: %s must be an integer, got %s"):format(self.name, key, options.text(o[key])))
      end
   end
   return o
end

--- Augments pictures.
--
-- What becomes of a sample depends on the transform's seed and on the sample's number (and epoch, and side)
-- alone: not on the batch it is in, nor on the number of threads. Without `indices` samples are numbered as
-- they come, so that each call draws anew.
-- @function Transform:__call
-- @tparam tensor x [C,H,W] or [N,C,H,W]; uint8 from 0 to 255, or float32, from 0 to 1 as a rule
-- @tparam[opt] table opts `indices` (int64 [N] or a list: the samples' numbers in their set), `epoch` (0),
--   `side` (0; which of a pair this is): integers that the random numbers depend on
-- @treturn tensor like x, outside of the graph; of the size and kind that the steps make
-- @usage
-- local warp = augment.Compose{ augment.RandomAffine{ degrees = 10 }, augment.GaussianNoise{}, seed = 1 }
-- local y = warp((set:batch(indices)), { indices = indices, epoch = epoch })
function Transform:__call(x, opts)
   local y = run(self, x, check_call(self, opts, CALL))
   return y
end

--- What a call does, for modules: `opts` need not be checked.
function M.apply(self, x, opts)
   local y = run(self, x, opts)
   return y
end

--- Augments both sides of a pair, each by numbers of its own.
-- @tparam tensor a [C,H,W] or [N,C,H,W]
-- @tparam tensor b the same
-- @tparam[opt] table opts `indices_a`, `indices_b` (the samples' numbers, as `indices` of a call), `epoch`
-- @treturn tensor
-- @treturn tensor
-- @usage local a, b = warp:pair(set:batch(pairs.a), set:batch(pairs.b))
function Transform:pair(a, b, opts)
   local o = check_call(self, opts, { indices_a = options.optional, indices_b = options.optional,
      epoch = 0 })
   local before = self.count
   local y = run(self, a, { indices = o.indices_a, epoch = o.epoch, side = 0 })
   local after = self.count
   if o.indices_b == nil then
      self.count = before -- the same numbers, of the other side
   end
   local z = run(self, b, { indices = o.indices_b, epoch = o.epoch, side = 1 })
   self.count = math.max(after, self.count)
   return y, z
end

--- The core's pipeline, for what runs it on threads of its own.
-- @treturn userdata
function Transform:pipeline()
   return self.compiled
end

--- What a seed and a running count make of the transform's future; put back by `set_state`.
-- @treturn table
function Transform:get_state()
   self.seed = self.seed or core.Generator():random(1 << 62)
   return { seed = self.seed, count = self.count }
end

--- @tparam table state of `get_state`
function Transform:set_state(state)
   if type(state) ~= "table" or math.type(state.seed) ~= "integer"
      or math.type(state.count) ~= "integer" then
      core.raise(self.name .. ": expected a state {seed=, count=} of get_state()")
   end
   self.seed, self.count = state.seed, state.count
end

-- Text

local function text_of(value)
   if type(value) == "function" then
      return "a function"
   end
   return M.is(value) and tostring(value) or options.text(value)
end

--- "RandomAffine(degrees = 10, scale = {0.9, 1.1})".
function Transform:__tostring()
   local parts, keys = {}, {}
   for _, child in ipairs(self.children or {}) do
      parts[#parts + 1] = text_of(child)
   end
   for key in pairs(self.options) do
      keys[#keys + 1] = type(key) == "string" and key or nil
   end
   table.sort(keys)
   for _, key in ipairs(keys) do
      parts[#parts + 1] = key .. " = " .. text_of(self.options[key])
   end
   return ("%s(%s)"):format(self.name:match("[^.]+$"), table.concat(parts, ", "))
end

return M
