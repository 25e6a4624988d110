--- Losses, miners and distances with arguments of every kind, likely ones most of the time: they may refuse
-- them, with a message, but the process goes on. Seeded; under the sanitizers it finds more.
local siamese = require "siamese"
local S = require "spec.support_losses"

local core = siamese.core
local generator

local function random(n)
   return generator:random(n)
end

local function one_of(list)
   return list[random(#list)]
end

--- Mostly the likely value.
local function mostly(likely, others)
   if random(16) > 1 then
      return likely
   end
   return one_of(others)
end

local function freed()
   local t = siamese.zeros(2, 2)
   t:free()
   return t
end

local function matrix(n, m)
   return mostly(one_of{ siamese.randn(n, m), siamese.randn(n, m):abs(), siamese.randn(m, n):t(),
      siamese.randn(n, m):requires_grad_(),
      siamese.randn(n, m):masked_fill(siamese.rand(n, m):lt(0.1), 0 / 0), siamese.full({ n, m }, 1 / 0),
      siamese.randn(1, m):expand(n, m), siamese.full({ n, m }, 3e38) },
      { siamese.zeros(n), siamese.zeros(n, m, 1), siamese.zeros(n, m):long(), freed(), 3, "x",
         siamese.zeros(0, m), siamese.zeros(1, 1):expand(1 << 40, 2),
         siamese.zeros(0, 1):expand(0, 1 << 55) })
end

local function numbers(count, most)
   local list = {}
   for i = 1, count do
      list[i] = mostly(random(math.max(most, 1)), { 0, -1, most + 1, math.maxinteger,
         math.mininteger })
   end
   local t = siamese.tensor(list, { dtype = "int64" })
   return one_of{ list, t, siamese.stack{ t, t }:t():narrow(2, 1, 1):reshape(count) }
end

local function labels(n)
   return mostly(one_of{ S.labels(n, random(4)), S.labels(n, 1), S.labels(n, math.max(n, 1)),
      numbers(n, 3) }, { S.labels(n + 1, 2), siamese.randn(n), { "x" }, {}, 5, freed(),
         siamese.zeros(1):long():expand(1 << 40), S.labels(n, 2):unsqueeze(2) })
end

local function lists(n, m)
   local count = random(7) - 1
   local out = { numbers(count, n), numbers(count, m), numbers(count, m) }
   if random(2) == 1 then
      out = { numbers(count, n), numbers(count, m), numbers(random(5) - 1, n), {} }
      out[4] = numbers(core.is_tensor(out[3]) and #out[3] or #out[3], m)
   end
   return mostly(out, { { out[1] }, { out[1], out[2] }, {}, { 1, 2, 3 }, 7, "x", { out[1], {}, out[3] },
      { {}, {}, {} } })
end

local KINDS = { "contrastive", "margin", "triplet", "lifted_structure", "ntxent", "supcon",
   "multi_similarity", "circle", "angular", "x" }
local NUMBERS = { 0, 1, -1, 0.5, 1e-30, 1e30, 1 / 0, 0 / 0 }

local function options(n, m)
   local o = { labels = random(6) > 1 and labels(n) or nil, ref_labels = random(2) == 1 and labels(m) or nil,
      indices = random(3) == 1 and lists(n, m) or nil, other = random(2) == 1 and matrix(m, m) or nil,
      beta = random(3) > 1 and siamese.rand(random(2) == 1 and 1 or 4):requires_grad_() or nil,
      own = mostly(one_of{ 1, m }, { 0, -1, m + 5, 1 << 39, 1 << 62, 0.5 }),
      weights = random(4) == 1 and siamese.rand(m) or nil,
      reduction = mostly(one_of{ "mean", "mean_nonzero", "sum", "none" }, { "x", 1 }) }
   for _, key in ipairs{ "positive", "negative", "scale_positive", "scale_negative", "margin", "temperature",
      "gamma", "nu", "alpha", "low", "high" } do
      o[key] = random(3) == 1 and one_of(NUMBERS) or nil
   end
   for _, key in ipairs{ "squared", "soft", "swap", "apart" } do
      o[key] = random(2) == 1 or nil
   end
   return mostly(o, { {}, 3, "x", { surprise = 1 } })
end

local function attempt(f, ...)
   local results = table.pack(pcall(f, ...))
   if not results[1] then
      assert.equal("string", type(results[2]))
      assert.is_true(#results[2] > 3)
   elseif siamese.is_tensor(results[2]) and results[2].requires_grad then
      pcall(results[2].backward, results[2], siamese.randn(results[2].shape))
   end
   return results
end

describe("losses with any arguments", function()
   before_each(function()
      generator = siamese.Generator(77)
      siamese.manual_seed(77)
      siamese.set_memory_limit(siamese.memory().live + (256 << 20))
   end)

   after_each(function()
      siamese.set_memory_limit(0)
      collectgarbage()
   end)

   it("over matrices", function()
      for _ = 1, 4000 do
         local n, m = random(9) - 1, random(40) - 1
         m = random(2) == 1 and n or m
         attempt(core.F.matrix_loss, one_of(KINDS), matrix(n, m), options(n, m))
      end
   end)

   it("over classes", function()
      for _ = 1, 1500 do
         local n, c = random(9) - 1, random(40) - 1
         attempt(core.F.margin_softmax, matrix(n, c), labels(n), mostly({
            kind = mostly(one_of{ "none", "arc", "cosine", "sphere" }, { "x", 1 }), margin = one_of(NUMBERS),
            scale = one_of(NUMBERS), lengths = random(2) == 1 and siamese.rand(n):requires_grad_() or nil,
            weights = random(2) == 1 and siamese.rand(n) or nil,
            reduction = mostly(one_of{ "mean", "sum", "none" }, { "x" }) }, { {}, 3, { surprise = 1 } }))
      end
   end)

   it("in miners", function()
      for _ = 1, 2000 do
         local n, m = random(9) - 1, random(40) - 1
         m = random(2) == 1 and n or m
         local o = { labels = labels(n), ref_labels = random(2) == 1 and labels(m) or nil,
            own = mostly(1, { 0, -3, 1 << 50 }), other = random(3) > 1 and matrix(m, m) or nil,
            choose_positive = one_of{ "hard", "semihard", "easy", "all", "x", 3 },
            choose_negative = one_of{ "hard", "semihard", "easy", "all" },
            positive_range = random(3) == 1 and mostly({ 0, 1 }, { {}, 3, { "a", 1 } }) or nil,
            generator = mostly(siamese.Generator(1), { 3, freed() }),
            bins = mostly(5, { 0, -1, 1 << 24, 1 << 40 }),
            positive_each = mostly(2, { 1 << 24, 0 }), size = mostly(4, { 1, 0 }) }
         for _, key in ipairs{ "low", "high", "positive", "negative", "epsilon", "tangent", "zero_cutoff" } do
            o[key] = random(3) == 1 and one_of(NUMBERS) or nil
         end
         attempt(core.mining.select, one_of{ "easy_hard", "triplets", "similar", "margins", "angles",
            "weighted", "histogram", "x" }, matrix(n, m), o)
         attempt(core.mining.group, labels(n))
         attempt(core.mining.weights, lists(n, n), mostly(n, { -1, 1 << 50, "x" }))
         attempt(core.mining.first_pairs, labels(n), mostly(numbers(2, n), { 3 }),
            mostly(numbers(2, n), { {} }))
      end
   end)

   it("as they are used", function()
      for _ = 1, 12 do
         for _, list in ipairs{ S.all, S.miners } do
            for _, entry in ipairs(list) do
               local n, d = random(9) - 1, mostly(5, { 0, 4 })
               attempt(entry[2](), matrix(n, d), labels(n), random(3) == 1 and lists(n, n) or nil,
                  random(4) == 1 and matrix(7, d) or nil, random(4) == 1 and labels(7) or nil)
            end
         end
         for _, name in ipairs{ "BarlowTwins", "VICReg", "NTXent", "InfoNCE", "Contrastive", "Triplet" } do
            local n = random(6) - 1
            attempt(siamese.losses[name]{}, matrix(n, 5), matrix(n, 5), mostly(labels(n), { matrix(n, 5) }))
         end
         for _, name in ipairs{ "L1", "L2", "SquaredL2", "Cosine", "Dot", "SNR" } do
            local distance = siamese.distances[name]()
            attempt(distance.matrix, distance, matrix(random(9) - 1, 5), matrix(random(9) - 1, 5))
            attempt(distance, matrix(4, 5), matrix(4, 5))
         end
      end
   end)

   it("without memory: an error, and all of it is given back", function()
      collectgarbage()
      collectgarbage()
      local before = siamese.memory().live
      local x, y = siamese.randn(60, 5), S.labels(60, 7)
      for step = 1, 40 do
         for _, list in ipairs{ S.all, S.miners } do
            for _, entry in ipairs(list) do
               local made = entry[2]()
               siamese.set_memory_limit(siamese.memory().live + step * 3000)
               local ok, message = pcall(function()
                  local value = made(x:clone():requires_grad_(), y)
                  if siamese.is_tensor(value) then
                     value:backward()
                  end
               end)
               siamese.set_memory_limit(0)
               assert.is_true(ok or message:find("memory", 1, true) ~= nil, tostring(message))
            end
         end
      end
      x, y = nil, nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.is_true(siamese.memory().live - before < 1e5)
   end)
end)
