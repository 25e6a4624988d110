--- Losses: what they do on batches that lack something, their calling convention, their reductions, and that
-- instruction sets and threads do not change them. Their values are in losses_golden_spec.lua.
local siamese = require "siamese"
local support = require "spec.support"
local S = require "spec.support_losses"

local F, L, M = siamese.nn.functional, siamese.losses, siamese.miners

local function backward(loss, x, labels, ...)
   x = x:detach():clone():requires_grad_()
   local value = loss(x, labels, ...)
   value:backward()
   return value:detach(), x.grad
end

describe("every loss", function()
   siamese.manual_seed(5)
   local batches = {
      { "no rows", siamese.zeros(0, 5), S.labels(0, 1) },
      { "one row", siamese.randn(1, 5), S.labels(1, 1) },
      { "two rows of one class", siamese.randn(2, 5), S.labels(2, 1) },
      { "two rows of two classes", siamese.randn(2, 5), S.labels(2, 2) },
      { "no negative", siamese.randn(8, 5), S.labels(8, 1) },
      { "no positive", siamese.randn(8, 5), S.labels(8, 8) },
      { "rows that are equal", siamese.ones(8, 5), S.labels(8, 3) },
      { "rows of zeros", siamese.zeros(8, 5), S.labels(8, 3) },
      { "rows of length 10000", siamese.randn(8, 5) * 1e4, S.labels(8, 3) },
   }
   for _, entry in ipairs(S.all) do
      it(entry[1] .. " has a finite value and gradient of any batch", function()
         for _, batch in ipairs(batches) do
            local value, grad = backward(entry[2](), batch[2], batch[3])
            assert.is_true(S.is_finite(value), batch[1])
            assert.is_true(grad == nil or S.is_finite(grad), batch[1])
         end
      end)
   end

   -- What is left where there are positive pairs alone, or negative ones alone: (whether with positives, with
   -- negatives) it is 0, in losses over pairs and triplets.
   local kept = { Contrastive = { true, true }, ["Contrastive of hinges"] = { true, true },
      MultiSimilarity = { true, true } }
   for _, entry in ipairs(S.matrix) do
      it(entry[1] .. " is 0, with a gradient of 0, where a kind of pair is missing that it needs", function()
         for k, labels in ipairs{ S.labels(8, 1), S.labels(8, 8) } do
            local value, grad = backward(entry[2](), siamese.randn(8, 5), labels)
            if kept[entry[1]] then
               assert.is_true(value:item() > 0 == kept[entry[1]][k])
            else
               assert.equal(0, value:item())
               assert.equal(0, grad:abs():max():item())
            end
         end
      end)
   end

   it("takes labels of any size", function()
      local x, small = siamese.randn(6, 5), S.labels(6, 3)
      local large = small * 1000000007 - 5000000000
      for _, entry in ipairs(S.matrix) do
         if entry[1] ~= "Margin of classes" then
            support.close(entry[2]()(x, large), entry[2]()(x, small), 0, 0)
         end
      end
   end)

   it("takes labels as a table, or as whole floats", function()
      local x, list = siamese.randn(4, 5), { 1, 2, 1, 2 }
      for _, entry in ipairs(S.all) do
         siamese.manual_seed(1)
         local loss = entry[2]()
         if entry[1] ~= "CrossBatchMemory" and entry[1] ~= "MultipleLosses" then
            local value = loss(x, siamese.tensor(list, { dtype = "int64" })):item()
            assert.equal(value, loss(x, list):item(), entry[1])
            assert.equal(value, loss(x, siamese.tensor(list)):item(), entry[1])
         end
      end
   end)

   it("says what is wrong with its arguments, by its name", function()
      local x = siamese.randn(4, 5)
      for _, entry in ipairs(S.all) do
         local loss = entry[2]()
         local name = "losses." .. entry[1]:match("^%w+")
         if name == "losses.MultipleLosses" then
            name = "miners.BatchHard" -- who sees them first
         end
         support.fails(name .. ": expected a label for each of the 4 embeddings, got [3]", loss, x,
            { 1, 2, 3 })
         support.fails(name .. ": labels must be an int64 tensor or a table, got string", loss, x, "dog")
         support.fails(name .. ": label 2 is 'dog', expected an integer", loss, x, { 1, "dog", 1, 2 })
         support.fails(name .. ": label 3 is 1.5, expected an integer", loss, x, { 1, 2, 1.5, 2 })
         support.fails(name .. ": label 3 is 1.5, expected an integer", loss, x,
            siamese.tensor{ 1, 2, 1.5, 2 })
         if name ~= "losses.Contrastive" then -- which takes distances of any shape
            support.fails(name .. ": embeddings must be float32 [N,D], got float32 [4,5,1]", loss,
               x:unsqueeze(3), { 1, 2, 1, 2 })
         end
         support.fails(name .. ": embeddings must be float32 [N,D], got int64 [4,5]", loss, x:long(),
            { 1, 2, 1, 2 })
         support.fails(name .. ": embeddings must be a tensor [N,D], got nil", loss)
      end
   end)

   it("blames the caller's line", function()
      local ok, message = pcall(function()
         local value = L.Triplet{}(siamese.randn(4, 5), { 1, 2 })
         return value
      end)
      assert.is_false(ok)
      assert.truthy(message:find("losses_spec.lua", 1, true), message)
      ok, message = pcall(function()
         local loss = L.ArcFace{ num_classes = 3 }
         return loss
      end)
      assert.is_false(ok)
      assert.truthy(message:find("losses_spec.lua", 1, true), message)
   end)
end)

describe("lists of pairs and triplets", function()
   local x, labels = siamese.randn(6, 5), S.labels(6, 2)

   it("are three or four, of whole numbers of rows, as many anchors as others", function()
      local loss = L.Triplet{}
      local wanted = "losses.Triplet: expected triplets {anchors, positives, negatives} or pairs"
      support.fails(wanted, loss, x, labels, { { 1 }, { 2 } })
      support.fails(wanted, loss, x, labels, 7)
      support.fails("triplet_loss: there are 1 positives for 2 anchors", loss, x, labels,
         { { 1, 2 }, { 3 }, { 2, 1 } })
      support.fails("triplet_loss: index 7 of the negatives (number 2) is out of range 1..6", loss, x, labels,
         { { 1, 1 }, { 3, 3 }, { 2, 7 } })
      support.fails("triplet_loss: index 0 of the anchors (number 1) is out of range 1..6", loss, x, labels,
         { { 0 }, { 3 }, { 2 } })
      support.fails("contrastive_loss: the pair of 1 and 3 is both positive and negative", L.Contrastive{}, x,
         labels, { { 1, 2 }, { 3, 4 }, { 2, 1 }, { 3, 3 } })
   end)

   it("need no labels where the loss asks for none", function()
      local lists = { { 1, 2 }, { 3, 4 }, { 2, 5 } }
      support.close(L.Triplet{}(x, nil, lists), L.Triplet{}(x, labels, lists), 0, 0)
      support.fails("labels must be an int64 tensor or a table, got nil", L.Triplet{}, x)
      support.fails("angular_loss: needs labels", L.Angular{}, x, nil, lists)
   end)

   it("of all triplets are what labels give", function()
      local all = M.BatchEasyHard{ pos_strategy = "all", neg_strategy = "all" }(x, labels)
      for _, entry in ipairs(S.matrix) do
         support.close(entry[2]()(x, labels, all), entry[2]()(x, labels), 1e-6, 1e-7)
      end
   end)

   it("come from the loss's own miner where none are given", function()
      local miner = M.BatchHard{}
      support.close(L.Triplet{ miner = miner }(x, labels), L.Triplet{}(x, labels, miner(x, labels)), 0, 0)
      support.fails("losses.Triplet: miner must be one of siamese.miners, got string", L.Triplet,
         { miner = "hard" })
   end)
end)

describe("reductions", function()
   local x, labels = siamese.randn(9, 5), S.labels(9, 4)
   local smooth = { LiftedStructure = true, MultiSimilarity = true, NTXent = true, InfoNCE = true,
      SupCon = true, Angular = true, ["Triplet, soft"] = true, Contrastive = true }

   for _, entry in ipairs(S.matrix) do
      local name, make, pairwise = table.unpack(entry)
      it("of " .. name .. ": the sum is that of the items, and so is its gradient", function()
         local nu = name:find("Margin") and 0 or nil
         local total, grad = backward(make{ reduction = "sum", nu = nu }, x, labels)
         local a = x:clone():requires_grad_()
         local by_item = make{ reduction = "none", nu = nu }(a, labels)
         assert.same(pairwise and { 9, 9 } or { 9 }, { table.unpack(by_item.shape) })
         by_item:sum():backward()
         support.close(by_item:sum(), total, 1e-5, 1e-5)
         support.close(a.grad, grad, 1e-5, 1e-5)
      end)

      it("of " .. name .. ": the mean of what is above 0", function()
         local opts = { nu = name:find("Margin") and 0 or nil }
         opts.reduction = "none"
         local items = make(opts)(x, labels)
         opts.reduction = "mean_nonzero"
         local mean = make(opts)(x, labels):item()
         if smooth[name] and name ~= "Contrastive" and not name:find("Triplet") then
            support.close(mean, items:sum() / items:gt(0):float():sum(), 1e-5, 1e-6)
         else -- pairs and triplets behind an item are counted one by one
            assert.is_true(mean > 0 and mean < items:sum():item())
         end
      end)

      if smooth[name] then
         it("of " .. name .. ": items have gradients of their own", function()
            support.gradcheck(function(a)
               return make{ reduction = "none" }(a, labels)
            end, { x })
         end)
      end
   end

   it("rejects others by name", function()
      support.fails("losses.Triplet: reduction must be 'mean' or 'mean_nonzero' or 'sum' or 'none', "
         .. "got 'max'", L.Triplet, { reduction = "max" })
      support.fails("losses.ArcFace: reduction must be 'mean' or 'sum' or 'none', got 'mean_nonzero'",
         L.ArcFace, { num_classes = 3, embedding_size = 5, reduction = "mean_nonzero" })
   end)
end)

describe("a batch against references", function()
   it("is compared with them alone, but for its own copies", function()
      local x, labels = siamese.randn(5, 4), S.labels(5, 2)
      local ref, ref_labels = siamese.randn(7, 4), S.labels(7, 3)
      local joined, both = siamese.cat({ x, ref }, 1), siamese.cat({ labels, ref_labels }, 1)
      for _, entry in ipairs(S.matrix) do
         local lists = { {}, {}, {}, {} }
         for i = 1, 5 do
            for j = 1, 7 do
               local at = labels[i]:item() == ref_labels[j]:item() and 0 or 2
               table.insert(lists[at + 1], i)
               table.insert(lists[at + 2], j + 5)
            end
         end
         local name = entry[1]
         if name ~= "LiftedStructure" and name ~= "Angular" then -- which look at more than the lists
            local loss = entry[2]{ reduction = "sum" }
            support.close(loss(x, labels, nil, ref, ref_labels), loss(joined, both, lists), 1e-5, 1e-5)
         end
         -- the batch as its own reference, which gets no gradient
         local own = entry[2]()
         if name ~= "LiftedStructure" then
            support.close(own(x, labels, nil, x:clone(), labels, 1), own(x, labels), 1e-5, 1e-5)
         end
      end
   end)

   it("gives the references their gradients, too", function()
      for _, name in ipairs{ "LiftedStructure", "MultiSimilarity", "NTXent", "SupCon", "Angular",
         "Triplet, soft" } do
         for _, entry in ipairs(S.matrix) do
            if entry[1] == name then
               support.gradcheck(function(x, ref)
                  return entry[2]()(x, S.labels(5, 2), nil, ref, S.labels(7, 3))
               end, { siamese.randn(5, 4), siamese.randn(7, 4) })
            end
         end
      end
   end)
end)

describe("circle loss", function()
   it("has the gradient of fixed weights", function()
      local x, labels, m, gamma = siamese.randn(8, 5), S.labels(8, 3), 0.3, 4
      local same = labels:reshape(8, 1):eq(labels:reshape(1, 8)):float() - siamese.eye(8)
      local different = 1 - same - siamese.eye(8)
      local a = x:clone():requires_grad_()
      local unit = F.normalize(a, 2)
      local s = unit:matmul(unit:t())
      local fixed = s:detach()
      local positive = (1 + m - fixed):relu() * (s - (1 - m)) * -gamma
      local negative = (fixed + m):relu() * (s - m) * gamma
      local losses = (positive:masked_fill(same:eq(0), -1e9):logsumexp(2)
         + negative:masked_fill(different:eq(0), -1e9):logsumexp(2)):softplus()
      losses:mean():backward()
      local value, grad = backward(L.Circle{ m = m, gamma = gamma }, x, labels)
      support.close(value, losses:mean(), 1e-5, 1e-6)
      support.close(grad, a.grad, 1e-4, 1e-6)
   end)
end)

describe("instruction sets and threads", function()
   local x, labels = siamese.randn(70, 6), S.labels(70, 9)
   local ref, ref_labels = siamese.randn(133, 6), S.labels(133, 11)

   for _, entry in ipairs(S.matrix) do
      it("give " .. entry[1] .. " the same values", function()
         for _, reduction in ipairs{ "mean", "none" } do
            local loss, want, want_grad = entry[2]{ reduction = reduction }, nil, nil
            support.each_isa(function(isa)
               local value, grad
               local a, b = x:clone():requires_grad_(), ref:clone():requires_grad_()
               value = loss(a, labels, nil, b, ref_labels)
               value:sum():backward()
               grad = siamese.cat({ a.grad, b.grad }, 1)
               if isa == "ref" then
                  want, want_grad = value:detach(), grad
               end
               support.close(value, want, 2e-5, 2e-5)
               local scale = want_grad:abs():max():item()
               support.close(grad / scale, want_grad / scale, 1e-4, 2e-6)
            end)
         end
      end)

      it("give " .. entry[1] .. " the same bits on any number of threads", function()
         local before, want, want_grad = siamese.get_threads(), nil, nil
         for _, threads in ipairs{ 1, 2, 3, 5 } do
            siamese.set_threads(threads)
            local loss = entry[2]()
            local method = loss.similar and "similarities" or "matrix"
            local matrix = loss.distance[method](loss.distance, x):detach():requires_grad_()
            loss.distance.matrix = function() return matrix end
            loss.distance.similarities = loss.distance.matrix
            local value = loss(x, labels)
            value:backward()
            want, want_grad = want or value:item(), want_grad or matrix.grad
            assert.equal(want, value:item())
            support.close(matrix.grad, want_grad, 0, 0)
         end
         siamese.set_threads(before)
      end)
   end
end)

describe("many classes", function()
   it("are no trouble for losses with a row for each", function()
      local x = siamese.randn(12, 8)
      local labels = siamese.tensor({ 1, 10000, 5, 1, 77, 9999, 10000, 3, 5, 4, 2, 1 }, { dtype = "int64" })
      for _, name in ipairs{ "Softmax", "NormalizedSoftmax", "ArcFace", "CosFace", "SphereFace", "ProxyNCA",
         "ProxyAnchor", "Center" } do
         local loss = L[name]{ num_classes = 10000, embedding_size = 8 }
         local value, grad = backward(loss, x, labels)
         assert.is_true(S.is_finite(value) and S.is_finite(grad), name)
         assert.same({ 10000, 8 }, { table.unpack(loss:parameters()[1].shape) })
         assert.same({ 12, 10000 }, { table.unpack(loss:logits(x).shape) })
         assert.is_true(loss:parameters()[1].grad:abs():max():item() > 0)
         local _, message = pcall(function() loss(x, labels + 1) end)
         assert.matches(("^spec/losses_spec.lua:%%d+: losses.%s: labels must be from 1 to 10000 "
            .. "%%(num_classes%%), got 2 to 10001"):format(name), message)
      end
      assert.is_true(S.is_finite(L.Margin{ num_classes = 10000 }(x, labels)))
      support.fails("margin_loss: label 10001 of row 2 is out of range 1..10000",
         L.Margin{ num_classes = 10000 }, x, labels + 1)
   end)

   it("make each row its own in a batch of 2000 classes", function()
      local x = siamese.randn(2000, 4)
      assert.equal(0, L.Triplet{}(x, S.labels(2000, 2000)):item())
      assert.is_true(L.Contrastive{}(x, S.labels(2000, 1000)):item() > 0)
   end)
end)

describe("losses with parameters", function()
   it("hand them to an optimiser, and learn with it", function()
      siamese.manual_seed(3)
      local x, labels = siamese.randn(40, 6), S.labels(40, 8)
      for _, name in ipairs{ "Softmax", "NormalizedSoftmax", "ArcFace", "CosFace", "SphereFace", "ProxyNCA",
         "ProxyAnchor", "Center" } do
         local loss = L[name]{ num_classes = 8, embedding_size = 6 }
         local opt = siamese.optim.Adam(loss:parameters(), { lr = 0.05 })
         local first = loss(x, labels):item()
         for _ = 1, 60 do
            opt:zero_grad()
            loss(x, labels):backward()
            opt:step()
         end
         assert.is_true(loss(x, labels):item() < 0.8 * first, name)
      end
      local margin = L.Margin{ learn_beta = false }
      assert.equal(0, #margin:parameters())
      assert.equal(1, #L.Margin{}:parameters())
      assert.equal(2, #L.Softmax{ num_classes = 3, embedding_size = 2 }:parameters())
      assert.equal(1, #L.Triplet{ distance = siamese.distances.WeightedL1{ features = 6 } }:parameters())
   end)

   it("weigh their rows by lists", function()
      local loss = L.Softmax{ num_classes = 3, embedding_size = 5 }
      local x, labels = siamese.randn(4, 5), { 1, 2, 3, 1 }
      local rows = L.Softmax{ num_classes = 3, embedding_size = 5, reduction = "none" }
      rows:load_state_dict(loss:state_dict())
      local weights = siamese.tensor{ 1, 0.5, 0, 0.5 }
      support.close(loss(x, labels, { { 1, 1 }, { 2, 4 }, { 1, 1 } }), (rows(x, labels)
         * siamese.tensor{ 1, 0.25, 0, 0.25 }):mean(), 1e-5, 1e-6)
      support.close(rows(x, labels, { { 1, 1 }, { 2, 4 }, {} }), rows(x, labels) * weights, 1e-5, 1e-6)
      support.fails("index 5 is out of range 1..4", loss, x, labels, { { 5 }, { 1 }, { 1 } })
   end)

   it("name what does not fit", function()
      support.fails("losses.ArcFace: option 'num_classes' is required", L.ArcFace, { embedding_size = 3 })
      support.fails("losses.Center: num_classes must be an integer of at least 1, got 0", L.Center,
         { num_classes = 0, embedding_size = 3 })
      support.fails("losses.CosFace: embeddings must be [N,3], got [2,4]",
         L.CosFace{ num_classes = 2, embedding_size = 3 }, siamese.randn(2, 4), { 1, 2 })
      support.fails("losses.SphereFace: margin must be an integer of at least 1, got 1.5", L.SphereFace,
         { num_classes = 2, embedding_size = 3, margin = 1.5 })
      support.fails("losses.NTXent: temperature must be a number from", L.NTXent, { temperature = 0 })
      support.fails("losses.Contrastive: unknown option 'margins'", L.Contrastive, { margins = 1 })
      for _, wrong in ipairs{ -1, 2 } do -- which the loss could fall without end by
         support.fails(("losses.Contrastive: same must be 1 or 0 for each pair (or between), got %d"):format(
            wrong), L.Contrastive{}, siamese.ones(2), siamese.tensor{ 1, wrong })
      end
      support.fails("losses.Triplet: distance must be 'l1', 'l2'", L.Triplet, { distance = "l3" })
      support.fails("losses.Triplet: a batch with labels needs a distance or p = 1 or 2, got p = 3",
         L.Triplet{ p = 3 }, siamese.randn(2, 4), { 1, 2 })
   end)
end)

describe("cosine margins at the ends of the angle", function()
   it("stay finite for embeddings on and against their class' weight", function()
      for _, name in ipairs{ "ArcFace", "CosFace", "SphereFace" } do
         local loss = L[name]{ num_classes = 2, embedding_size = 3 }
         local w = loss.weight:detach()
         local value, grad = backward(loss, siamese.cat({ w, -w }, 1), { 1, 2, 1, 2 })
         assert.is_true(S.is_finite(value) and S.is_finite(grad), name)
      end
   end)
end)

describe("cross-batch memory", function()
   local function make(opts)
      return L.CrossBatchMemory{ loss = L.Contrastive(opts), embedding_size = 3, memory_size = 6 }
   end

   it("remembers the last embeddings, and saves them", function()
      local memory, x = make(), siamese.randn(4, 3)
      memory(x, { 1, 2, 1, 2 })
      memory(x * 2, { 3, 4, 3, 4 })
      assert.same({ 3, 4, 1, 2, 3, 4 }, memory.label_memory:totable())
      support.close(memory.embedding_memory:narrow(1, 1, 2), x:narrow(1, 3, 2) * 2, 0, 0)
      local other = make()
      other:load_state_dict(memory:state_dict())
      local y = siamese.randn(2, 3)
      support.close(other(y, { 3, 1 }), memory(y, { 3, 1 }), 0, 0)
   end)

   it("puts nothing in while it evaluates, and forgets when told", function()
      local memory, x = make(), siamese.randn(4, 3)
      memory(x, { 1, 2, 1, 2 })
      memory:eval()
      local value = memory(x, { 1, 1, 1, 1 }):item()
      assert.equal(value, memory(x, { 1, 1, 1, 1 }):item())
      memory:train()
      memory:reset()
      assert.equal(0, memory:eval()(x, { 1, 2, 1, 2 }):item())
   end)

   it("has a gradient for the batch alone", function()
      local memory = make{ margin = 3 }
      memory(siamese.randn(3, 3), { 1, 2, 3 })
      local value, grad = backward(memory, siamese.randn(3, 3), { 1, 2, 3 })
      assert.is_true(value:item() > 0 and grad:abs():max():item() > 0)
      assert.is_false(memory.embedding_memory.requires_grad)
   end)

   it("refuses what it cannot do", function()
      support.fails("losses.CrossBatchMemory: loss must be one over pairs or triplets", L.CrossBatchMemory,
         { loss = L.NPairs{}, embedding_size = 3 })
      support.fails("losses.CrossBatchMemory: expected at most 6 embeddings of size 3, got [7,3]", make(),
         siamese.randn(7, 3), S.labels(7, 2))
      support.fails("losses.CrossBatchMemory: expected at most 6 embeddings of size 3, got [2,4]", make(),
         siamese.randn(2, 4), { 1, 2 })
      support.fails("give it a miner", make(), siamese.randn(2, 3), { 1, 2 }, { { 1 }, { 2 }, { 1 } })
   end)
end)

describe("weighted sums", function()
   it("hold their losses' parameters, and check what they are given", function()
      local softmax = L.Softmax{ num_classes = 3, embedding_size = 5 }
      local sum = L.MultipleLosses{ losses = { softmax, L.Triplet{} }, weights = { 1, 0.1 } }
      assert.equal(2, #sum:parameters())
      assert.truthy(tostring(sum):find("(loss1): Softmax", 1, true))
      support.fails("losses.MultipleLosses: losses must be a list of at least one loss", L.MultipleLosses,
         { losses = {} })
      support.fails("losses.MultipleLosses: expected a weight for each of the 1 losses, got {1, 2}",
         L.MultipleLosses, { losses = { L.Triplet{} }, weights = { 1, 2 } })
      support.fails("losses.MultipleLosses: weight 1 must be a finite number, got ", L.MultipleLosses,
         { losses = { L.Triplet{} }, weights = { 0 / 0 } })
      support.fails("losses.MultipleLosses: loss 1 is a string", L.MultipleLosses, { losses = { "triplet" } })
   end)
end)

describe("pairs given one by one", function()
   local a, b = siamese.randn(3, 4), siamese.randn(3, 4)

   it("are Contrastive's, with 1 or 0 for each in a tensor or a table", function()
      local loss = L.Contrastive{}
      assert.equal(loss(a, b, siamese.tensor{ 1, 0, 1 }):item(), loss(a, b, { 1, 0, 1 }):item())
      support.fails("losses.Contrastive: same must be 1 or 0 for each pair (or between), got -5", loss, a, b,
         { 1, -5, 0 })
   end)

   it("are refused by the other losses, not taken for something else", function()
      for _, name in ipairs{ "NTXent", "InfoNCE", "BarlowTwins", "VICReg" } do
         support.fails(("losses.%s: takes two views, whose rows are of one class; pairs (a, b, same) are "
            .. "losses.Contrastive's"):format(name), L[name]{}, a, b, { 1, 0, 1 })
      end
      for _, name in ipairs{ "LiftedStructure", "MultiSimilarity", "SupCon", "Circle", "Angular", "NPairs",
         "BatchHardTriplet", "Margin", "Prototypical" } do
         support.fails(("losses.%s: labels must be [N], got [3,4]; pairs (a, b, same) are "
            .. "losses.Contrastive's"):format(name), L[name]{}, a, b)
      end
   end)
end)

describe("two views", function()
   it("must have one shape", function()
      for _, name in ipairs{ "BarlowTwins", "VICReg", "NTXent", "InfoNCE", "Contrastive" } do
         support.fails("losses." .. name .. ": the two sides must have one shape, got [3,4] and [2,4]",
            L[name]{}, siamese.randn(3, 4), siamese.randn(2, 4), { 1, 0, 1 })
      end
   end)

   it("have a finite loss of one row, of none, and of features that do not vary", function()
      for _, name in ipairs{ "BarlowTwins", "VICReg", "NTXent", "InfoNCE" } do
         for _, x in ipairs{ siamese.randn(1, 4), siamese.zeros(0, 4), siamese.ones(5, 4) } do
            local a, b = x:clone():requires_grad_(), x:clone():requires_grad_()
            local value = L[name]{}(a, b)
            value:backward()
            assert.is_true(S.is_finite(value) and (a.grad == nil or S.is_finite(a.grad)), name)
         end
      end
   end)
end)

describe("prototypical loss", function()
   it("names a query without support, and lists that are none", function()
      local x = siamese.randn(4, 5)
      support.fails("losses.Prototypical: a query's class has no support", L.Prototypical{}, x,
         { 1, 2, 1, 3 }, { { 1, 2 }, { 3, 4 } })
      support.fails("losses.Prototypical: expected { support, queries }, two lists of rows, got 1 lists",
         L.Prototypical{}, x, { 1, 2, 1, 3 }, { { 1, 2 } })
      assert.equal(0, L.Prototypical{ shots = 4 }(x, { 1, 2, 1, 2 }):item())
   end)
end)
