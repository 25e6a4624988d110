--- Losses around other losses: cross-batch memory, weighted sums.
-- @module siamese.losses.around
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local base = require "siamese.losses.base"
local options = require "siamese.options"

local M = {}

--- Cross-batch memory (Wang, Zhang, Huang, Scott 2020, "Cross-batch memory for embedding learning", section
-- 3 and algorithm 1): a queue of the last `memory_size` embeddings, without gradients. Each batch is put
-- into it, then compared with all of it by a loss over pairs or triplets (an embedding is not compared with
-- its own copy). In evaluation mode nothing is put in.
--
-- The memory is part of the module's state: it is saved and loaded with it.
-- @function CrossBatchMemory
-- @tparam table opts `loss` (a loss over pairs or triplets), `embedding_size` (required), `memory_size`
--   (1024, at least a batch), `miner` (one of siamese.miners, which then sees the memory as well)
-- @usage
-- local loss = losses.CrossBatchMemory{ loss = losses.Contrastive{}, embedding_size = 128, memory_size =
-- 8192 } loss(embeddings, labels):backward()
M.CrossBatchMemory = base.class("CrossBatchMemory", { loss = options.required,
   embedding_size = options.required, memory_size = 1024, miner = options.optional }, {
   init = function(self, o, full)
      options.check_count(full, o, "embedding_size", 1)
      options.check_count(full, o, "memory_size", 1)
      if not Module.is_module(o.loss) or not o.loss.takes_references then
         core.raise(full .. ": loss must be one over pairs or triplets of a batch")
      elseif o.miner ~= nil and not Module.is_module(o.miner) then
         core.raise(("%s: miner must be one of siamese.miners, got %s"):format(full, type(o.miner)))
      end
      self.loss, self.miner = o.loss, o.miner
      self:register_buffer("embedding_memory", core.zeros(o.memory_size, o.embedding_size))
      self:register_buffer("label_memory", core.zeros(o.memory_size, { dtype = "int64" }))
      self:register_buffer("queue", core.zeros(2, { dtype = "int64" })) -- entries, next place from 0
   end,
})

--- Forgets all embeddings.
function M.CrossBatchMemory:reset()
   self.queue:fill_(0)
end

--- Writes n rows into a ring from place `at` (from 0) on.
local function write(ring, rows, at, n)
   local first = math.min(n, ring:size(1) - at)
   ring:narrow(1, at + 1, first):copy_(rows:narrow(1, 1, first))
   if first < n then
      ring:narrow(1, 1, n - first):copy_(rows:narrow(1, first + 1, n - first))
   end
end

--- Puts a batch into the memory; returns the row of its first embedding there, from 1.
local function enqueue(self, embeddings, labels)
   local n, size = embeddings:size(1), self.options.memory_size
   local at = self.queue[2]:item()
   write(self.embedding_memory, embeddings:detach(), at, n)
   write(self.label_memory, labels, at, n)
   self.queue[1] = math.min(self.queue[1]:item() + n, size)
   self.queue[2] = (at + n) % size
   return at + 1
end

function M.CrossBatchMemory:forward(embeddings, labels, indices)
   local name, o = self:full_name(), self.options
   base.embeddings(name, embeddings)
   labels = base.labels(name, labels, embeddings:size(1))
   if indices ~= nil then
      core.raise(name .. ": forms its pairs with the memory itself; give it a miner to choose among them")
   elseif embeddings:size(1) > o.memory_size or embeddings:size(2) ~= o.embedding_size then
      core.raise(("%s: expected at most %d embeddings of size %d, got [%d,%d]"):format(name, o.memory_size,
         o.embedding_size, embeddings:size(1), embeddings:size(2)))
   end
   local own = self.training and enqueue(self, embeddings, labels) or nil
   local count = self.queue[1]:item()
   local memory = self.embedding_memory:narrow(1, 1, count)
   local memory_labels = self.label_memory:narrow(1, 1, count)
   local found = self.miner and self.miner(embeddings, labels, memory, memory_labels, own)
   return self.loss(embeddings, labels, found or nil, memory, memory_labels, own)
end

--- A weighted sum of losses: loss(embeddings, labels, pairs_or_triplets?) is the sum of weights[i] times
-- losses[i] of the same arguments. Losses and their parameters are the module's children.
-- @function MultipleLosses
-- @tparam table opts `losses` (a list), `weights` (a list of numbers, default 1 each), `miners` (a table:
--   miner i chooses the pairs of loss i where none are given)
-- @usage losses.MultipleLosses{ losses = { softmax, triplet }, weights = { 1, 0.5 } }
M.MultipleLosses = base.class("MultipleLosses", { losses = options.required, weights = options.optional,
   miners = options.optional }, {
   init = function(self, o, full)
      if type(o.losses) ~= "table" or #o.losses == 0 then
         core.raise(full .. ": losses must be a list of at least one loss")
      elseif o.weights ~= nil and (type(o.weights) ~= "table" or #o.weights ~= #o.losses) then
         core.raise(("%s: expected a weight for each of the %d losses, got %s"):format(full, #o.losses,
            options.text(o.weights)))
      end
      self.weights = {}
      for i, loss in ipairs(o.losses) do
         local weight, miner = o.weights and o.weights[i] or 1, o.miners and o.miners[i]
         if not Module.is_module(loss) then
            core.raise(("%s: loss %d is a %s"):format(full, i, type(loss)))
         elseif type(weight) ~= "number" or weight - weight ~= 0 then
            core.raise(("%s: weight %d must be a finite number, got %s"):format(full, i,
               options.text(weight)))
         elseif miner and not Module.is_module(miner) then
            core.raise(("%s: miner %d is a %s"):format(full, i, type(miner)))
         end
         self.weights[i] = weight
         self["loss" .. i], self["miner" .. i] = loss, miner or nil
      end
   end,
})

function M.MultipleLosses:forward(embeddings, labels, indices, ...)
   local total
   for i, weight in ipairs(self.weights) do
      local miner, lists = self["miner" .. i], indices
      if lists == nil and miner then
         lists = miner(embeddings, labels, ...)
      end
      local value = self["loss" .. i](embeddings, labels, lists, ...) * weight
      total = total and total + value or value
   end
   return total
end

return M
