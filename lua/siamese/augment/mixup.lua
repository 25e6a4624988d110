--- Mixup: images of a batch mixed with each other.
-- @module siamese.augment.mixup
local check = require "siamese.augment.check"
local compose = require "siamese.augment.compose"
local core = require "siamese.core"
local options = require "siamese.options"

--- @type MixUp
local MixUp = { __name = "MixUp" }
MixUp.__index = MixUp
compose.batch_only[MixUp] = true

local M = {}

--- A draw of the gamma distribution with that shape (Marsaglia, Tsang 2000).
local function draw_gamma(generator, shape)
   if shape < 1 then -- their section 6
      return draw_gamma(generator, shape + 1) * (1 - generator:uniform()) ^ (1 / shape)
   end
   local d = shape - 1 / 3
   local c = 1 / math.sqrt(9 * d)
   while true do
      local x = generator:normal()
      local v = (1 + c * x) ^ 3
      if v > 0 and math.log(1 - generator:uniform()) < 0.5 * x * x + d - d * v + d * math.log(v) then
         return d * v
      end
   end
end

local function draw_beta(generator, alpha)
   local a, b = draw_gamma(generator, alpha), draw_gamma(generator, alpha)
   return a + b > 0 and a / (a + b) or (generator:uniform() < 0.5 and 1 or 0)
end

--- Mixup (Zhang, Cisse, Dauphin, Lopez-Paz 2018): each image becomes lam of itself and 1 - lam of another,
-- the one before it in the batch, as torchvision pairs them (the first with the last). lam is drawn from
-- Beta(alpha, alpha).
-- @tparam[opt] table opts `alpha` (1), `per` ("batch": one lam for all, as torchvision; or "sample": one for
--   each), `num_classes` (of labels: see the call), `seed`
-- @treturn MixUp
-- @usage
-- -- For losses on embeddings: the loss of a mixed input is the mix of losses.
-- local mix = augment.MixUp{ alpha = 0.2 }
-- local mixed, partner, lam = mix(x)
-- local e = net(mixed)
-- local l = lam:mean() * loss(e, labels) + (1 - lam:mean()) * loss(e, labels:index_select(1, partner))
function M.MixUp(opts)
   local name = "augment.MixUp"
   local o = options.check(name, opts, { alpha = 1, per = "batch", num_classes = options.optional,
      seed = options.optional })
   local c = check.new(name, o)
   local alpha = c:number("alpha")
   if alpha <= 0 then
      core.raise(("%s: alpha must be above 0, got %g"):format(name, alpha))
   end
   c:choice("per", { "batch", "sample" })
   if o.num_classes ~= nil then
      c:integer("num_classes", 1)
   end
   return setmetatable({ alpha = alpha, per = o.per, num_classes = o.num_classes,
      generator = core.Generator(o.seed) }, MixUp)
end

local function draw_lam(self, n)
   local lam, one = {}, self.per == "batch" and draw_beta(self.generator, self.alpha)
   for i = 1, n do
      lam[i] = one or draw_beta(self.generator, self.alpha)
   end
   return n > 0 and core.tensor(lam) or core.zeros(0)
end

local function text_of(x)
   return core.is_tensor(x) and ("%s [%s]"):format(x.dtype, table.concat(x.shape, ",")) or type(x)
end

--- [N,classes] with a 1 where the label says; what has that form already stays.
local function soft(self, labels, n)
   if core.is_tensor(labels) and labels.dtype == "float32" and labels:dim() == 2 and labels:size(1) == n
      and (not self.num_classes or labels:size(2) == self.num_classes) then
      return labels
   elseif not core.is_tensor(labels) or labels.dtype ~= "int64" or labels:dim() ~= 1
      or labels:size(1) ~= n then
      core.raise(("augment.MixUp: labels must be int64 [%d], or float32 [%d,classes], got %s"):format(n, n,
         text_of(labels)))
   elseif not self.num_classes then
      core.raise("augment.MixUp: num_classes must be given to mix labels that are numbers")
   elseif n > 0 and (labels:min():item() < 1 or labels:max():item() > self.num_classes) then
      core.raise(("augment.MixUp: labels must be from 1 to %d (num_classes)"):format(self.num_classes))
   end
   local classes = core.arange(1, self.num_classes + 1, { dtype = "int64" })
   return labels:unsqueeze(2):eq(classes:unsqueeze(1)):float()
end

--- Mixes a batch.
-- @function MixUp:__call
-- @tparam tensor x float32 [N,...]
-- @tparam[opt] tensor labels int64 [N], from 1 to `num_classes`, or float32 [N,classes]
-- @treturn tensor the mixed batch; gradients go through
-- @treturn tensor with labels: float32 [N,classes], mixed alike; without: int64 [N], each image's partner
-- @treturn tensor float32 [N], lam
function MixUp:__call(x, labels)
   if not core.is_tensor(x) or x.dtype ~= "float32" or x:dim() < 2 then
      core.raise("augment.MixUp: needs a float32 batch [N,...], got " .. text_of(x))
   end
   local n = x:size(1)
   local order, shape = {}, { n }
   for i = 1, n do
      order[i] = (i - 2) % n + 1
   end
   for d = 2, x:dim() do
      shape[d] = 1
   end
   local partner = n > 0 and core.tensor(order, { dtype = "int64" }) or core.zeros(0, { dtype = "int64" })
   local hot = labels ~= nil and soft(self, labels, n)
   local lam = draw_lam(self, n)
   local mixed = x * lam:reshape(shape) + x:index_select(1, partner) * (1 - lam):reshape(shape)
   if not hot then
      return mixed, partner, lam
   end
   local column = lam:reshape(n, 1)
   return mixed, hot * column + hot:index_select(1, partner) * (1 - column), lam
end

function MixUp:__tostring()
   return ("MixUp(alpha = %g, per = '%s')"):format(self.alpha, self.per)
end

return M
