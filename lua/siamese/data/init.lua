--- Data in: loaders, the project's own glyphs, samplers and splits.
--
--    local data = require("siamese").data
--    local set = assert(data.folder("pictures", { size = 64 }))
--    local train, test = data.split_classes(set, { 0.8, 0.2 }, { seed = 1 })
--    for a, b, same in data.pairs(train, { batch_size = 64, batches = 100 }) do
--       local x, y = train:batch(a), train:batch(b)
--    end
--
-- @module siamese.data
local folder = require "siamese.data.folder"
local glyphs = require "siamese.data.glyphs"
local idx = require "siamese.data.idx"
local omniglot = require "siamese.data.omniglot"
local samplers = require "siamese.data.samplers"
local sets = require "siamese.data.set"
local split = require "siamese.data.split"

return {
   set = sets.new,
   folder = folder.folder,
   orl = folder.orl,
   omniglot = omniglot.omniglot,
   omniglot_runs = omniglot.omniglot_runs,
   idx = idx.idx,
   glyphs = glyphs.glyphs,
   pairs = samplers.pairs,
   episodes = samplers.episodes,
   class_batches = samplers.class_batches,
   batches = samplers.batches,
   split_classes = split.split_classes,
   split_samples = split.split_samples,
}
