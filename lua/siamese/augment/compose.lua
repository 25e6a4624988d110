--- Putting augmentations together.
--
-- What is put together is made of transforms and of functions of your own, `f(x, generator)`, which get one
-- picture [C,H,W] and a generator that belongs to the sample and the place, and return a picture. With
-- functions among them steps still run on all threads, but the functions run one after the other.
-- @module siamese.augment.compose
local core = require "siamese.core"
local options = require "siamese.options"
local transform = require "siamese.augment.transform"

local M = {}

local BRANCHES = 32 -- of a step, as the core has them
local BATCH_ONLY = setmetatable({}, { __mode = "k" })
--- Marks what works on whole batches, and so cannot be among a sample's steps.
M.batch_only = BATCH_ONLY

--- The transforms and functions of a list; raises where something else is among them.
local function check_children(name, list, most)
   local children = {}
   for i, child in ipairs(list) do
      if BATCH_ONLY[getmetatable(child) or child] then
         core.raise(("%s: %s mixes the images of a batch: call it on what the transform gives"):format(name,
            tostring(child)))
      elseif type(child) ~= "function" and not transform.is(child) then
         core.raise(("%s: step %d must be a transform or a function, got %s"):format(name, i, type(child)))
      end
      children[i] = child
   end
   if #children == 0 or #children > (most or 1024) then
      core.raise(("%s: needs %s, got %d"):format(name,
         most and "1 to 32 transforms" or "at least one transform", #children))
   end
   return children
end

--- The list's named options, checked, and its children.
local function split(name, list, spec, most)
   if type(list) ~= "table" or transform.is(list) then
      core.raise(("%s: expected a table of transforms, got %s"):format(name,
         transform.is(list) and tostring(list) or type(list)))
   end
   local named = {}
   for key, value in pairs(list) do
      if math.type(key) ~= "integer" then
         named[key] = value
      end
   end
   local o = options.check(name, named, spec)
   return check_children(name, list, most), o, named
end

local function check_probability(name, p)
   if type(p) ~= "number" or not (p >= 0 and p <= 1) then
      core.raise(("%s: the probability must be a number from 0 to 1, got %s"):format(name, options.text(p)))
   end
   return p
end

--- All of the steps, one after the other.
-- @tparam table list transforms and functions, and `seed` (the steps' own seeds do not count here)
-- @treturn Transform
-- @usage
-- local t = augment.Compose{
--    augment.RandomAffine{ degrees = 15, interpolation = "bilinear" },
--    augment.OneOf{ augment.GaussianBlur{ kernel_size = 3 }, augment.GaussianNoise{ sigma = 0.05 } },
--    function(x, generator) return generator:uniform() < 0.5 and x or 1 - x end,
--    seed = 7,
-- }
function M.Compose(list)
   local name = "augment.Compose"
   local children, _, named = split(name, list, { seed = options.optional })
   local t = transform.new({ name = name, kind = "all", children = children }, named)
   return t
end

local function one_of(name, list)
   local children, o, named = split(name, list, { seed = options.optional, p = options.optional },
      BRANCHES)
   local weights = o.p
   for i = 1, weights and math.max(#children, type(weights) == "table" and #weights or 1) or 0 do
      local weight = type(weights) == "table" and weights[i]
      if type(weight) ~= "number" or not (weight >= 0) or i > #children then
         core.raise(("%s: p must be a list of %d weights from 0, one a transform, got %s"):format(name,
            #children, options.text(weights)))
      end
   end
   local t = transform.new({ name = name, kind = "one", children = children, weights = weights }, named)
   return t
end

--- One of the steps, drawn for each sample.
-- @tparam table list transforms and functions; `p`: a list of their weights (all alike without it); `seed`
-- @treturn Transform
-- @usage
-- augment.OneOf{ augment.GaussianBlur{ kernel_size = 5 }, augment.RandomInvert{ p = 1 }, p = { 3, 1 } }
function M.OneOf(list)
   local t = one_of("augment.OneOf", list)
   return t
end

--- The same under torchvision's name.
-- @tparam table list as of `OneOf`
-- @treturn Transform
function M.RandomChoice(list)
   local t = one_of("augment.RandomChoice", list)
   return t
end

--- The steps, one after the other, for a part of the samples.
-- @tparam number p the probability
-- @param ... transforms and functions
-- @treturn Transform
-- @usage augment.Sometimes(0.3, augment.RandomStroke{ width = 1 })
function M.Sometimes(p, ...)
   local name = "augment.Sometimes"
   check_probability(name, p)
   local children = check_children(name, { ... })
   local t = transform.new({ name = name, kind = "sometimes", p = p, children = children }, { p = p })
   return t
end

--- The same under torchvision's name.
-- @tparam table list transforms and functions; `p` (0.5), `seed`
-- @treturn Transform
function M.RandomApply(list)
   local name = "augment.RandomApply"
   local children, o, named = split(name, list, { seed = options.optional, p = 0.5 })
   check_probability(name, o.p)
   local t = transform.new({ name = name, kind = "sometimes", p = o.p, children = children }, named)
   return t
end

--- All of the steps, in an order drawn for each sample.
-- @tparam table list transforms and functions (at most 32), and `seed`
-- @treturn Transform
function M.RandomOrder(list)
   local name = "augment.RandomOrder"
   local children, _, named = split(name, list, { seed = options.optional }, BRANCHES)
   local t = transform.new({ name = name, kind = "order", children = children }, named)
   return t
end

return M
