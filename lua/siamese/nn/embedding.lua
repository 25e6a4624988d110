--- Embedding.
-- @module siamese.nn.embedding
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local init = require "siamese.nn.initialise"
local options = require "siamese.options"
local parts = require "siamese.nn.parts"

local F = core.F
local M = {}

--- A table of vectors by number: input [...] of int64 from 1 to num_embeddings, output [..., embedding_dim].
-- A number out of range raises. Weights begin as N(0, 1), as PyTorch's.
-- @function Embedding
-- @tparam table opts `num_embeddings`, `embedding_dim` (required); `padding_idx`: the number of a vector
--   that begins as zeros and is not trained (negative: from the end)
-- @usage nn.Embedding{ num_embeddings = 5000, embedding_dim = 64, padding_idx = 1 }
M.Embedding = Module:extend("Embedding")

function M.Embedding:init(opts)
   local name = "nn.Embedding"
   local o = options.check(name, opts, { num_embeddings = options.required,
      embedding_dim = options.required, padding_idx = options.optional })
   options.check_count(name, o, "num_embeddings", 1)
   options.check_count(name, o, "embedding_dim", 1)
   self.options = o
   self.weight = init.normal_(parts.parameter{ o.num_embeddings, o.embedding_dim })
   local row, rows = o.padding_idx, o.num_embeddings
   if row ~= nil then
      if math.type(row) ~= "integer" or row == 0 or math.abs(row) > rows then
         core.raise(("%s: padding_idx must be an integer from 1 to num_embeddings (%d), got %s"):format(name,
            rows, tostring(row)))
      end
      self.padding_idx = row < 0 and rows + 1 + row or row
      init.zeros_(self.weight:detach():select(1, self.padding_idx))
   end
end

function M.Embedding:forward(indices)
   return F.embedding(indices, self.weight, self.padding_idx)
end

function M.Embedding:extra_repr()
   local o = self.options
   return ("%d, %d%s"):format(o.num_embeddings, o.embedding_dim,
      self.padding_idx and ", padding_idx=" .. self.padding_idx or "")
end

return parts.mark_plain(M)
