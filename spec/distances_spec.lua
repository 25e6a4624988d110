--- Distances: rows and matrices agree, gradients, learned ones, in twins. Their values are in
-- losses_golden_spec.lua.
local siamese = require "siamese"
local support = require "spec.support"
local S = require "spec.support_losses"

local D, F = siamese.distances, siamese.nn.functional

local function all()
   return { D.L1{}, D.L1{ normalize = true }, D.L2{}, D.L2{ normalize = true }, D.SquaredL2{}, D.Cosine{},
      D.Dot{}, D.SNR{}, D.WeightedL1{ features = 7 }, D.Mahalanobis{ features = 7 },
      D.Mahalanobis{ features = 7, rank = 3 } }
end

local function diagonal(matrix)
   return (matrix * siamese.eye(matrix:size(1))):sum(2)
end

describe("distances", function()
   local a, b

   before_each(function()
      siamese.manual_seed(21)
      a, b = siamese.randn(6, 7), siamese.randn(6, 7)
   end)

   it("of rows lie on the diagonal of the matrix", function()
      for _, d in ipairs(all()) do
         assert.same({ 6 }, { table.unpack(d(a, b).shape) })
         support.close(diagonal(d:matrix(a, b)), d(a, b), 1e-4, 1e-5)
         local similarities = d.has_similarity and d:similarities(a, b) or -d:matrix(a, b)
         support.close(d:similarities(a, b), similarities, 0, 0)
      end
      support.close(D.Cosine():similarities(a, b), 1 - D.Cosine():matrix(a, b), 1e-6, 1e-6)
      support.close(D.Dot():similarities(a, b), a:matmul(b:t()), 1e-6, 1e-6)
   end)

   it("are 0 from a row to itself, with a gradient of numbers", function()
      for _, d in ipairs(all()) do
         if tostring(d):find("Dot") == nil then
            local x = a:clone():requires_grad_()
            local matrix = d:matrix(x)
            support.close(diagonal(matrix), siamese.zeros(6), 0, 1e-6)
            matrix:sum():backward()
            assert.is_true(S.is_finite(x.grad), tostring(d))
         end
      end
   end)

   it("have gradients on both sides, and for what they learn", function()
      for _, d in ipairs(all()) do
         if not tostring(d):find("L1") then
            support.gradcheck(function(x, y)
               return d:matrix(x, y), d(x, y)
            end, { a, b })
         end
      end
      for _, d in ipairs{ D.WeightedL1{ features = 7 }, D.Mahalanobis{ features = 7, rank = 4 } } do
         local name = d.weight and "weight" or "transform"
         support.gradcheck(function(w)
            d[name] = w
            return d:matrix(a, b), d(a, b)
         end, { siamese.rand(d[name].shape) + 0.2 })
      end
   end)

   it("tell a tensor from another of the same values", function()
      for _, d in ipairs(all()) do
         local x, y = a:clone():requires_grad_(), a:clone():requires_grad_()
         d:matrix(x, y * 1):sum():backward()
         assert.is_true(x.grad ~= nil and y.grad ~= nil, tostring(d))
      end
   end)

   it("of rows without variance, without length, or without numbers of rows are defined", function()
      for _, x in ipairs{ siamese.zeros(3, 7), siamese.ones(3, 7), siamese.zeros(0, 7) } do
         for _, d in ipairs(all()) do
            local y = x:clone():requires_grad_()
            local m = d:matrix(y)
            assert.is_true(S.is_finite(m), tostring(d))
            m:sum():backward()
            assert.is_true(y.grad == nil or S.is_finite(y.grad), tostring(d))
            assert.is_true(S.is_finite(d(x, x)), tostring(d))
         end
      end
   end)

   it("are the same under every instruction set, and on any number of threads", function()
      local x, y = siamese.randn(67, 41), siamese.randn(45, 41)
      for _, d in ipairs{ D.L1{}, D.L2{}, D.SquaredL2{} } do
         local want
         support.each_isa(function()
            local m = d:matrix(x, y)
            want = want or m
            support.close(m, want, 1e-5, 1e-5)
         end)
      end
      local before, want = siamese.get_threads(), nil
      for _, threads in ipairs{ 1, 2, 3 } do
         siamese.set_threads(threads)
         local p, q = x:clone():requires_grad_(), y:clone():requires_grad_()
         local m = D.L1():matrix(p, q)
         m:square():sum():backward()
         want = want or { m, p.grad, q.grad }
         for i, t in ipairs{ m, p.grad, q.grad } do
            support.close(t, want[i], 0, 0)
         end
      end
      siamese.set_threads(before)
   end)

   it("are exact where rows nearly coincide", function()
      local x = siamese.randn(5, 40) * 100
      local y = x + siamese.randn(5, 40) * 1e-3
      local exact = (y - x):square():sum(2):sqrt()
      support.close(diagonal(D.L2():matrix(x, y)), exact, 1e-4, 0)
      support.close(diagonal(D.SquaredL2():matrix(x, y)), exact:square(), 1e-4, 0)
   end)

   it("say what does not fit", function()
      support.fails("cdist: a [6,7] and b [6,5] must agree in their columns", function()
         D.L1():matrix(a, siamese.randn(6, 5))
      end)
      support.fails("cdist: p must be 1 or 2", F.cdist, a, b, { p = 3 })
      support.fails("cdist: p must be 1 or 2", F.cdist, a, b, { p = 1, squared = true })
      support.fails("distances.L2: unknown option 'normalise' (did you mean 'normalize'?)", D.L2,
         { normalise = true })
      support.fails("distances.L2: normalize must be true or false, got 1", D.L2, { normalize = 1 })
      support.fails("distances.WeightedL1: option 'features' is required", D.WeightedL1)
      support.fails("distances.Mahalanobis: rank must be an integer of at least 1, got 0", D.Mahalanobis,
         { features = 3, rank = 0 })
      support.fails("x: distance must be 'l1', 'l2', 'squared_l2', 'cosine', 'dot', 'snr' or one of "
         .. "siamese.distances, got 'l3'", D.get, "l3", "x")
   end)
end)

describe("a twin with a distance", function()
   local a, b

   before_each(function()
      siamese.manual_seed(22)
      a, b = siamese.randn(5, 4), siamese.randn(5, 4)
   end)

   local function twin_with(distance)
      return siamese.Twin{ encoder = siamese.models.lenet5{ embedding = 6 }, distance = distance }
   end

   it("measures by it, and has its parameters", function()
      local net = siamese.nn.Sequential{ siamese.nn.Linear{ in_features = 4, out_features = 6 } }
      for _, d in ipairs{ D.L2{ normalize = true }, D.Cosine{}, D.Dot{}, D.SNR{},
         D.WeightedL1{ features = 6 }, D.Mahalanobis{ features = 6, rank = 2 } } do
         local twin = siamese.Twin{ encoder = net, distance = d }
         support.close(twin(a, b), d(net(a), net(b)), 1e-5, 1e-5)
         assert.equal(#net:parameters() + #d:parameters(), #twin:parameters())
         local similarity = twin:similarity(a, b)
         assert.is_true(similarity:min():item() >= 0 and similarity:max():item() <= 1)
         local names, scores = twin:identify(a, b, { "v", "w", "x", "y", "z" })
         assert.equal(5, #names)
         assert.same({ 5, 5 }, { table.unpack(scores.shape) })
      end
      support.close(siamese.Twin{ encoder = net, distance = D.Cosine{} }:similarity(a, b),
         siamese.Twin{ encoder = net, distance = "cosine" }:similarity(a, b), 1e-6, 1e-6)
   end)

   it("is built again from its record, learned values included", function()
      for _, d in ipairs{ D.L2{ normalize = true }, D.Mahalanobis{ features = 6, rank = 2 } } do
         local twin = twin_with(d)
         local copy = assert(siamese.record.build(assert(siamese.record.of(twin))))
         copy:load_state_dict(twin:state_dict())
         local x, y = siamese.randn(2, 1, 28, 28), siamese.randn(2, 1, 28, 28)
         support.close(copy:eval()(x, y), twin:eval()(x, y), 0, 0)
      end
   end)

   it("rejects what is no distance", function()
      support.fails("Twin: distance must be 'l1', 'l2', 'cosine', one of siamese.distances or a function, "
         .. "got 'l3'", siamese.Twin, { encoder = siamese.models.lenet5{}, distance = "l3" })
   end)
end)
