--- Data in: loaders, the project's own glyphs, samplers and splits.
--
--    local data = require("siamese").data
--    local set = assert(data.folder("pictures", { size = 64, stream = true }))
--    local train, test = data.split_classes(set, { 0.8, 0.2 }, { seed = 1 })
--    local pairs = data.pairs(train, { batch_size = 64, batches = 100 })
--    for a, b, same in data.loader(train, { sampler = pairs, workers = 2 }) do
--       ...
--    end
--
-- @module siamese.data
local csv = require "siamese.data.csv"
local folder = require "siamese.data.folder"
local glyphs = require "siamese.data.glyphs"
local idx = require "siamese.data.idx"
local lfw = require "siamese.data.lfw"
local loader = require "siamese.data.loader"
local omniglot = require "siamese.data.omniglot"
local pair_lists = require "siamese.data.pair_list"
local pair_samplers = require "siamese.data.pair_samplers"
local samplers = require "siamese.data.samplers"
local sets = require "siamese.data.set"
local split = require "siamese.data.split"

return {
   set = sets.new,
   folder = folder.folder,
   files = folder.files,
   csv = csv.csv,
   pairs_csv = csv.pairs_csv,
   orl = folder.orl,
   lfw = lfw.lfw,
   omniglot = omniglot.omniglot,
   omniglot_runs = omniglot.omniglot_runs,
   idx = idx.idx,
   glyphs = glyphs.glyphs,
   pair_list = pair_lists.new,
   loader = loader.loader,
   pairs = samplers.pairs,
   all_pairs = pair_samplers.all_pairs,
   hard_pairs = pair_samplers.hard_pairs,
   triplets = pair_samplers.triplets,
   episodes = samplers.episodes,
   class_batches = samplers.class_batches,
   batches = samplers.batches,
   split_classes = split.split_classes,
   split_samples = split.split_samples,
   split_groups = split.split_groups,
   k_fold = split.k_fold,
}
