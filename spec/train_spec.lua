--- Training as a whole: it learns, it repeats, it accumulates.
local siamese = require "siamese"
local support = require "spec.support"

local data, metrics = siamese.data, siamese.metrics

local function train(steps, seed)
   siamese.manual_seed(seed)
   local set = data.glyphs{ classes = 60, samples = 8, size = 28, seed = 3 }
   local twin = siamese.Twin{ encoder = siamese.models.conv4{ width = 16 }, distance = "l2" }
   local opt = siamese.optim.Adam(twin:parameters(), { lr = 2e-3 })
   local loss, losses = siamese.losses.BatchHardTriplet{ soft = true }, {}
   local warp = siamese.augment.Affine{ rotation = 8, translation = 2, seed = seed }
   for indices, labels in data.class_batches(set, { classes = 16, samples = 3, batches = steps,
      seed = seed }) do
      opt:zero_grad()
      local value = loss(twin:embed(warp((set:batch(indices)))), labels)
      value:backward()
      opt:step()
      losses[#losses + 1] = value:item()
   end
   return twin, losses
end

describe("training", function()
   it("gives the same losses twice with the same seed, and others with another", function()
      local _, first = train(5, 1)
      local _, second = train(5, 1)
      local _, third = train(5, 2)
      assert.same(first, second)
      assert.is_not.same(first, third)
   end)

   it("learns to recognise characters it has not seen, where pixels do poorly", function()
      local twin = train(150, 1):eval()
      local unseen = data.glyphs{ classes = 40, samples = 8, size = 28, seed = 3, first_class = 61 }
      local function accuracy(embed)
         return metrics.few_shot(unseen, { embed = embed, way = 10, episodes = 100, seed = 1 }).accuracy
      end
      local ours = accuracy(function(x) return twin:embed(x) end)
      assert.is_true(ours > 0.65, "10-way one-shot accuracy " .. ours)
      assert.is_true(ours > accuracy(metrics.pixels) + 0.1)
   end)

   it("takes pairs and the paper's head as well", function()
      siamese.manual_seed(5)
      local set = data.glyphs{ classes = 20, samples = 6, size = 28 }
      local encoder = siamese.models.conv4{ width = 8 }
      local twin = siamese.Twin{ encoder = encoder, head = siamese.nn.WeightedL1{ features = 8 } }
      local opt = siamese.optim.Adam(twin:parameters(), { lr = 5e-3 })
      local loss, first, last = siamese.losses.BCEWithLogits{}, 0, 0
      local step = 0
      for a, b, same in data.pairs(set, { batch_size = 32, batches = 60, seed = 1 }) do
         opt:zero_grad()
         local value = loss(twin((set:batch(a)), (set:batch(b))), same)
         value:backward()
         opt:step()
         step = step + 1
         first = first + (step <= 10 and value:item() or 0)
         last = last + (step > 50 and value:item() or 0)
      end
      assert.is_true(last < 0.9 * first)
   end)

   it("accumulates gradients over parts of a batch", function()
      siamese.manual_seed(2)
      local net = siamese.models.conv4{ width = 4 }:eval()
      local x = siamese.randn(6, 1, 28, 28)
      net(x):sum():backward()
      local whole = {}
      for i, p in ipairs(net:parameters()) do
         whole[i], p.grad = p.grad, nil
      end
      net(x:narrow(1, 1, 2)):sum():backward()
      net(x:narrow(1, 3, 4)):sum():backward()
      for i, p in ipairs(net:parameters()) do
         support.close(p.grad, whole[i], 1e-3, 1e-3)
      end
   end)

   it("leaves nothing behind when an error ends a forward pass in the middle", function()
      local Broken = siamese.nn.Module:extend("Broken")
      function Broken:forward() -- luacheck: ignore self
         error("in the middle")
      end
      local net = siamese.nn.Sequential{ siamese.nn.Linear{ in_features = 100, out_features = 100 },
         Broken() }
      local function live()
         collectgarbage()
         collectgarbage()
         return siamese.memory().live
      end
      local before = live()
      for _ = 1, 50 do
         support.fails("in the middle", net, siamese.randn(100, 100))
      end
      assert.is_true(live() - before < 100000)
   end)
end)
