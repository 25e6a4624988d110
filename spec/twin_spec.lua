--- The twin: one encoder, both sides in one pass, distances, heads, recognition.
local siamese = require "siamese"
local support = require "spec.support"

local nn, fails, close = siamese.nn, support.fails, support.close

local function encoder()
   return nn.Sequential{ nn.Linear{ in_features = 4, out_features = 6 }, nn.Tanh{},
      nn.Linear{ in_features = 6, out_features = 3 } }
end

local a, b

before_each(function()
   siamese.manual_seed(11)
   a, b = siamese.randn(5, 4), siamese.randn(5, 4)
end)

describe("a twin", function()
   it("gives the distance of the two embeddings, for each kind", function()
      local net = encoder()
      local ea, eb = net(a), net(b)
      local expected = {
         l1 = (ea - eb):abs():sum(2),
         l2 = ((ea - eb) ^ 2):sum(2):sqrt(),
         cosine = 1 - (ea * eb):sum(2) / (ea:norm(2, 2) * eb:norm(2, 2)),
      }
      for kind, distance in pairs(expected) do
         local twin = siamese.Twin{ encoder = net, distance = kind }
         close(twin(a, b), distance, 1e-4, 1e-5)
         close(twin:distance(a, b), distance, 1e-4, 1e-5)
      end
   end)

   it("has one parameter set, whose gradient is that of two passes", function()
      local net = encoder()
      local twin = siamese.Twin{ encoder = net, distance = "l2" }
      assert.equal(#net:parameters(), #twin:parameters())
      twin(a, b):sum():backward()
      local together = {}
      for i, p in ipairs(net:parameters()) do
         together[i], p.grad = p.grad, nil
      end
      siamese.nn.functional.pairwise_distance(net(a), net(b)):sum():backward()
      for i, p in ipairs(net:parameters()) do
         close(p.grad, together[i], 1e-4, 1e-5)
      end
   end)

   it("is one module: saved, counted and switched as a whole", function()
      local twin = siamese.Twin{ encoder = encoder(), head = nn.WeightedL1{ features = 3 } }
      local names = {}
      for name in pairs(twin:state_dict()) do
         names[#names + 1] = name
      end
      assert.same({ "encoder.0.weight", "encoder.0.bias", "encoder.2.weight", "encoder.2.bias",
         "head.linear.weight", "head.linear.bias" }, names)
      twin:eval()
      assert.is_false(twin.encoder.training)
   end)

   it("takes Koch's head: the logit of a weighted L1 distance", function()
      local net, head = encoder(), nn.WeightedL1{ features = 3 }
      local twin = siamese.Twin{ encoder = net, head = head }
      local apart = (net(a) - net(b)):abs()
      local logits = apart:matmul(head.linear.weight:reshape(3)) + head.linear.bias
      close(twin(a, b), logits, 1e-4, 1e-5)
      close(twin:similarity(a, b), logits:sigmoid(), 1e-4, 1e-5)
   end)

   it("gives similarities from 0 to 1, the highest for the same input", function()
      for _, kind in ipairs{ "l1", "l2", "cosine" } do
         local twin = siamese.Twin{ encoder = encoder(), distance = kind }
         local s = twin:similarity(a, b)
         assert.is_true(s:min():item() >= 0 and s:max():item() <= 1)
         assert.is_true(twin:similarity(a, a):min():item() > 0.999)
      end
   end)

   it("takes a distance of one's own, and says when it gives the wrong shape", function()
      local net = encoder()
      local squared = siamese.Twin{ encoder = net, distance = function(x, y)
         return ((x - y) ^ 2):sum(2)
      end }
      close(squared(a, b), ((net(a) - net(b)) ^ 2):sum(2))
      local wrong = siamese.Twin{ encoder = net, distance = function(x) return x end }
      fails("the distance must give [5], got [5,3]", wrong, a, b)
   end)

   it("verifies and identifies, in evaluation mode, and comes back to training", function()
      local net = nn.Sequential{ nn.BatchNorm1d{ num_features = 4 } }
      local twin = siamese.Twin{ encoder = net, distance = "l2" }
      assert.same({ true, true, true, true, true }, twin:verify(a, a + 0.001, 0.1))
      local order = siamese.tensor({ 3, 1, 5, 2, 4 }, { dtype = "int64" })
      local found, scores = twin:identify(a:index_select(1, order) + 0.01, a)
      assert.same(order:totable(), found)
      assert.same({ 5, 5 }, scores.shape)
      assert.same({ "c" }, (twin:identify(a:narrow(1, 3, 1), a, { "a", "b", "c", "d", "e" })))
      assert.is_true(net.training)
      assert.equal(0, net[1].num_batches_tracked:item())
      fails("batch_norm", twin.identify, twin, siamese.randn(2, 7), a)
      assert.is_true(net[1].training)
   end)

   it("says what is wrong with its parts and its sides", function()
      fails("option 'encoder' is required", siamese.Twin, {})
      fails("encoder must be a module, got number", siamese.Twin, { encoder = 3 })
      fails("distance must be 'l1', 'l2', 'cosine', one of siamese.distances or a function", siamese.Twin,
         { encoder = encoder(), distance = "l3" })
      local twin = siamese.Twin{ encoder = encoder() }
      fails("the two sides must have one shape, got [5,4] and [2,4]", twin, a, siamese.randn(2, 4))
      fails("Twin:embed_pair: expected a tensor, got nil", twin, a)
      fails("threshold must be a number", twin.verify, twin, a, b)
      fails("1 labels for 5 support images", twin.identify, twin, a, b, { "x" })
   end)
end)
