--- What the losses share: options, the calling convention, the losses over a matrix of distances.
-- @module siamese.losses.base
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local distances = require "siamese.distances"
local options = require "siamese.options"

local F = core.F
local M = {}

local Loss = Module:extend("Loss")
M.Loss = Loss

--- Options that are modules print as children.
function Loss:extra_repr()
   local parts = {}
   for key, value in pairs(self.options) do
      if type(value) ~= "table" then
         parts[#parts + 1] = ("%s=%s"):format(key, tostring(value))
      end
   end
   table.sort(parts)
   return table.concat(parts, ", ")
end

--- What the loss is called in messages.
function Loss:full_name()
   return "losses." .. getmetatable(self).__name
end

local REDUCTIONS = { "mean", "mean_nonzero", "sum", "none" }
M.PLAIN_REDUCTIONS = { "mean", "sum", "none" }

--- A new kind of loss.
-- @tparam string name
-- @tparam table spec its options, as `options.check` takes them; a number's range may stand in `ranges`
-- @tparam[opt] table more `ranges` (by option: {low, high}), `booleans` (a list), `choices` (by option: a
--   list), `init` (a function of the new loss, its options and its name, called last)
-- @treturn table the class, whose `forward` is to be defined
function M.class(name, spec, more)
   local class, full = Loss:extend(name), "losses." .. name
   more = more or {}
   function class:init(opts)
      local o = options.check(full, opts, spec)
      for key, range in pairs(more.ranges or {}) do
         if o[key] ~= nil then
            options.check_number(full, o, key, range[1], range[2])
         end
      end
      for _, key in ipairs(more.booleans or {}) do
         options.check_boolean(full, o, key)
      end
      for key, choices in pairs(more.choices or {}) do
         if o[key] ~= nil then
            options.check_choice(full, o, key, choices)
         end
      end
      self.options = o
      if more.init then
         more.init(self, o, full)
      end
   end
   return class
end

local function shape_text(t)
   return "[" .. table.concat(t.shape, ",") .. "]"
end

--- Raises unless all labels of a list are integers.
local function check_integers(name, list)
   for i, label in ipairs(list) do
      if not math.tointeger(label) or type(label) == "string" then
         core.raise(("%s: label %d is %s, expected an integer"):format(name, i, options.text(label)))
      end
   end
end

--- Labels as an int64 tensor [n]; raises if there are others.
function M.labels(name, labels, n)
   if type(labels) == "table" and not Module.is_module(labels) then
      check_integers(name, labels)
      labels = core.tensor(labels, { dtype = "int64" })
   elseif not core.is_tensor(labels) then
      core.raise(("%s: labels must be an int64 tensor or a table, got %s"):format(name, type(labels)))
   end
   if labels:dim() == 2 then
      core.raise(("%s: labels must be [N], got %s; pairs (a, b, same) are losses.Contrastive's"):format(name,
         shape_text(labels)))
   elseif labels:dim() ~= 1 or labels:size(1) ~= n then
      core.raise(("%s: expected a label for each of the %d embeddings, got %s"):format(name, n,
         shape_text(labels)))
   end
   if labels.dtype == "float32" then
      check_integers(name, labels:totable())
   end
   return labels.dtype == "int64" and labels or labels:long()
end

--- Raises unless x is a batch of embeddings.
function M.embeddings(name, x)
   if not core.is_tensor(x) then
      core.raise(("%s: embeddings must be a tensor [N,D], got %s"):format(name, type(x)))
   elseif x:dim() ~= 2 or x.dtype ~= "float32" then
      core.raise(("%s: embeddings must be float32 [N,D], got %s %s"):format(name, x.dtype, shape_text(x)))
   end
   return x
end

--- Raises unless a and b are float32 [N,D] of one shape.
function M.two_sides(name, a, b)
   M.embeddings(name, a)
   M.embeddings(name, b)
   if a:size(1) ~= b:size(1) or a:size(2) ~= b:size(2) then
      core.raise(("%s: the two sides must have one shape, got %s and %s"):format(name, shape_text(a),
         shape_text(b)))
   end
end

--- Raises unless a and b are two views, and nothing says which of their pairs are of one class.
function M.two_views(name, a, b, more)
   M.two_sides(name, a, b)
   if more ~= nil then
      core.raise(name .. ": takes two views, whose rows are of one class; pairs (a, b, same) are "
         .. "losses.Contrastive's")
   end
end

--- Whether an argument in the place of labels is a second batch of embeddings.
function M.is_batch(x)
   return core.is_tensor(x) and x:dim() == 2
end

--- Raises unless `indices` are three or four lists.
function M.check_lists(name, indices)
   if type(indices) ~= "table" or (#indices ~= 3 and #indices ~= 4) then
      core.raise(("%s: expected triplets {anchors, positives, negatives} or pairs {anchors, positives, "
         .. "anchors, negatives}, got %s"):format(name, type(indices) == "table" and #indices .. " lists"
         or type(indices)))
   end
end

--- Whether a loss compares a batch with references, as cross-batch memory needs it.
Loss.takes_references = false

--- Options that all losses over a matrix have.
M.MATRIX_OPTIONS = { reduction = "mean", miner = options.optional }

--- A loss over the matrix of a batch's distances or similarities, which is computed in C.
-- @tparam string name
-- @tparam table how `kind` (see F.matrix_loss), `spec`, `distance` (the default; nil: it has no such
--   option and is a cosine), `similarities` (whether it is defined on them), `other` (a function of the
--   loss: whether the distances between the columns are needed), `params` (a function of the loss and its
--   options that gives what F.matrix_loss takes), and what `class` takes
-- @treturn table
function M.matrix_class(name, how)
   local spec = options.extend(M.MATRIX_OPTIONS, how.spec)
   if how.distance then
      spec.distance = how.distance
   end
   local choices = options.extend({ reduction = REDUCTIONS }, how.choices or {})
   local class = M.class(name, spec, { ranges = how.ranges, booleans = how.booleans, choices = choices,
      init = function(self, o, full)
         if how.init then
            how.init(self, o, full)
         end
         if how.distance ~= false then
            self.distance = distances.get(o.distance or "cosine", full)
         end
         if o.miner ~= nil and not Module.is_module(o.miner) then
            core.raise(("%s: miner must be one of siamese.miners, got %s"):format(full, type(o.miner)))
         end
         self.miner = o.miner
         self.call_options = how.params(self, o)
      end })
   class.takes_references = true
   class.kind, class.similar, class.needs_other = how.kind, how.similarities, how.other
   class.forward = M.matrix_forward
   return class
end

--- The checked arguments of a loss: labels, lists, labels of the references.
local function arguments(self, embeddings, labels, indices, ref, ref_labels)
   local name = self:full_name()
   M.embeddings(name, embeddings)
   if labels ~= nil or indices == nil then
      labels = M.labels(name, labels, embeddings:size(1))
   end
   if indices ~= nil then
      M.check_lists(name, indices)
   end
   if ref ~= nil then
      M.embeddings(name .. ": references", ref)
      ref_labels = ref_labels ~= nil and M.labels(name .. ": references", ref_labels, ref:size(1)) or nil
   end
   return labels, ref_labels
end

--- Copies of a table's fields, and more.
local function with(fields, labels, ref_labels, own, indices)
   local out = {}
   for key, value in pairs(fields) do
      out[key] = value
   end
   out.labels, out.ref_labels, out.own, out.indices = labels, ref_labels, own, indices
   return out
end

--- The forward pass of losses over a matrix.
-- @tparam tensor embeddings [N,D]
-- @tparam ?tensor|table labels [N]
-- @tparam[opt] {tensor,...} indices triplets or pairs, as miners give them
-- @tparam[opt] tensor ref [M,D]: what the embeddings are compared with instead of each other
-- @tparam[opt] tensor|table ref_labels [M]
-- @tparam[opt] int own the row of `ref` that is the first embedding itself
function M.matrix_forward(self, embeddings, labels, indices, ref, ref_labels, own)
   labels, ref_labels = arguments(self, embeddings, labels, indices, ref, ref_labels)
   if ref == nil then
      own = 1
   end
   if indices == nil and self.miner then
      indices = self.miner(embeddings, labels, ref, ref_labels, own)
   end
   local distance, method = self.distance, self.similar and "similarities" or "matrix"
   local matrix = distance[method](distance, embeddings, ref)
   local call = with(self.call_options, labels, ref_labels, own, indices)
   if self.needs_other and self.needs_other(self) then
      call.other = ref and distance[method](distance, ref) or matrix
   end
   if self.beta then
      call.beta = self.beta
   end
   return F.matrix_loss(self.kind, matrix, call)
end

--- The rows' weights that lists of pairs or triplets stand for: how often each is named, over the most.
function M.row_weights(name, indices, n)
   if indices == nil then
      return nil
   end
   M.check_lists(name, indices)
   return core.mining.weights(indices, n)
end

return M
