--- Times each loss, forward and backward, on one thread, beside pytorch-metric-learning where there is a
-- Python that has it:
--
--    lua5.4 bench/losses.lua [PYTHON]        batch 256 of 128 dimensions, 32 classes
--
-- Prints milliseconds (the median of the runs) and how many times faster ours is. No assertion is made.
local siamese = require "siamese"

local BATCH, SIZE, CLASSES, RUNS = 256, 128, 32, 30

local function labels()
   local list = {}
   for i = 1, BATCH do
      list[i] = (i - 1) % CLASSES + 1
   end
   return siamese.tensor(list, { dtype = "int64" })
end

local classes = { num_classes = CLASSES, embedding_size = SIZE }

local function many(class)
   return class{ num_classes = 10000, embedding_size = SIZE }
end

-- A name, as the peer knows it too, and what makes the loss.
local L, M = siamese.losses, siamese.miners
local unit = siamese.distances.L2{ normalize = true }
local CASES = {
   { "contrastive", L.Contrastive{ power = 1, distance = unit } },
   { "triplet", L.Triplet{ margin = 0.05, distance = unit } },
   { "triplet, soft", L.Triplet{ margin = 0.05, soft = true, distance = unit } },
   { "triplet, swap", L.Triplet{ margin = 0.05, swap = true, distance = unit } },
   { "triplet, semihard", L.Triplet{ margin = 0.2, triplets = "semihard", distance = unit } },
   { "triplet, batch hard", L.Triplet{ margin = 0.05, distance = unit,
      miner = M.BatchHard{ distance = unit } } },
   { "lifted structure", L.LiftedStructure{ distance = unit } },
   { "N-pairs", L.NPairs{} },
   { "multi-similarity", L.MultiSimilarity{} },
   { "multi-similarity, mined", L.MultiSimilarity{ miner = M.MultiSimilarity{} } },
   { "NT-Xent", L.NTXent{ temperature = 0.07 } },
   { "supervised contrastive", L.SupCon{} },
   { "angular", L.Angular{} },
   { "circle", L.Circle{} },
   { "margin", L.Margin{} },
   { "margin, distance weighted", L.Margin{ miner = M.DistanceWeighted{ seed = 1 } } },
   { "softmax", L.Softmax(classes) },
   { "normalised softmax", L.NormalizedSoftmax(classes) },
   { "ArcFace", L.ArcFace(classes) },
   { "ArcFace, 10000 classes", many(L.ArcFace) },
   { "CosFace", L.CosFace(classes) },
   { "SphereFace", L.SphereFace(classes) },
   { "proxy-NCA++", L.ProxyNCA(classes) },
   { "proxy-anchor", L.ProxyAnchor(classes) },
   { "proxy-anchor, 10000 classes", many(L.ProxyAnchor) },
   { "centre", L.Center(classes) },
   { "prototypical", L.Prototypical{ shots = 4 } },
   { "Barlow twins", L.BarlowTwins{}, true },
   { "VICReg", L.VICReg{}, true },
   { "cross-batch memory, contrastive", L.CrossBatchMemory{ embedding_size = SIZE, memory_size = 4096,
      loss = L.Contrastive{ power = 1, distance = unit } } },
}

local function median(list)
   table.sort(list)
   return list[(#list + 1) // 2]
end

local function time(loss, two_views)
   local x = siamese.randn(BATCH, SIZE):requires_grad_()
   local other = two_views and siamese.randn(BATCH, SIZE):requires_grad_() or labels()
   local times = {}
   for run = 1, RUNS + 5 do
      local start = os.clock()
      loss(x, other):backward()
      times[run] = os.clock() - start
      x.grad = nil
      loss:zero_grad()
   end
   return 1000 * median(table.move(times, 6, #times, 1, {}))
end

--- The peer's times by name.
local function peer(python)
   local times = {}
   local pipe = assert(io.popen(("%s bench/losses_peer.py %d %d %d %d"):format(python, BATCH, SIZE, CLASSES,
      RUNS)))
   for line in pipe:lines() do
      local name, ms = line:match("^(.*)\t(%S+)$")
      times[name or ""] = tonumber(ms)
   end
   assert(pipe:close(), "the peer failed")
   return times
end

siamese.set_threads(1)
siamese.manual_seed(1)
local theirs = arg[1] and peer(arg[1]) or {}
print(("%-34s %10s %10s %8s"):format("loss (ms, one thread)", "siamese", "pml", "ratio"))
for _, case in ipairs(CASES) do
   local ours, other = time(case[2], case[3]), theirs[case[1]]
   print(("%-34s %10.3f %10s %8s"):format(case[1], ours, other and ("%.3f"):format(other) or "-",
      other and ("%.1f"):format(other / ours) or "-"))
end
