--- The graph: recording, backward, accumulation, no_grad, stale tensors.
local siamese = require "siamese"
local support = require "spec.support"

local function fails(pattern, f, ...)
   local ok, message = pcall(f, ...)
   assert.is_false(ok, "expected an error like: " .. pattern)
   assert.matches(pattern, message, 1, true)
end

local function leaf(values)
   return siamese.tensor(values, { requires_grad = true })
end

describe("backward", function()
   it("adds into the leaves' gradients, over uses and over calls", function()
      local w = leaf{ 2, 3 }
      local loss = (w * w + w):sum()
      loss:backward()
      assert.same({ 5, 7 }, w.grad:totable());
      (w * 10):sum():backward()
      assert.same({ 15, 17 }, w.grad:totable())
      w.grad = nil
      assert.is_nil(w.grad)
   end)

   it("never lets two leaves share one gradient", function()
      local a, b = leaf{ 1, 2 }, leaf{ 3, 4 };
      (a + b):sum():backward()
      a.grad:mul_(100)
      assert.same({ 1, 1 }, b.grad:totable())
   end)

   it("goes through shared parts once", function()
      local x = leaf{ 3 }
      local y = x * x
      for _ = 1, 10 do
         y = y + y
      end
      y:backward()
      assert.same({ 6 * 1024 }, x.grad:totable())
   end)

   it("walks 100,000 steps deep without recursion, and frees them so", function()
      local x = leaf{ 1 }
      local y = x
      for _ = 1, 100000 do
         y = y + 1
      end
      y:backward()
      assert.same({ 1 }, x.grad:totable())
      y = x
      for _ = 1, 100000 do
         y = y + 1
      end
      y = nil -- luacheck: ignore
      collectgarbage()
   end)

   it("a second time is a clear error, unless the graph was retained", function()
      local x = leaf{ 2 }
      local y = x * x
      y:backward()
      fails("the graph has been used already", y.backward, y)
      local z = x * x
      z:backward{ retain_graph = true }
      z:backward()
      assert.same({ 12 }, x.grad:totable())
   end)

   it("wants one element or a gradient of the shape", function()
      local x = leaf{ 1, 2 }
      fails("must have one element, got shape [2]", function() (x * 2):backward() end)
      fails("gradient must be float32 [2], got float32 [3]",
         function() (x * 2):backward(siamese.ones(3)) end)
      fails("does not require a gradient", function() siamese.ones(1):backward() end)
      fails("unknown option 'retain'", function() (x * 2):sum():backward{ retain = true } end);
      (x * 2):backward(siamese.tensor{ 1, 10 })
      assert.same({ 2, 20 }, x.grad:totable())
   end)

   it("sees a saved tensor that was changed in place", function()
      local x, c = leaf{ 1, 2 }, siamese.tensor{ 3, 4 }
      local y = (x * c):sum()
      c[1] = 0
      fails("operand 2 of mul was changed in place after the forward pass", y.backward, y)
   end)
end)

describe("recording", function()
   it("stops inside no_grad, also after an error, and passes results on", function()
      local x = leaf{ 1, 2 }
      local y, n = siamese.no_grad(function(v, k) return v * k, k end, x, 3)
      assert.is_false(y.requires_grad)
      assert.equal(3, n)
      fails("boom", siamese.no_grad, function() error("boom") end)
      assert.is_true(siamese.is_grad_enabled())
      assert.is_true((x * 2).requires_grad)
      siamese.no_grad(function()
         assert.is_false(siamese.is_grad_enabled())
         assert.is_true(siamese.enable_grad(function() return (x * 2).requires_grad end))
      end)
   end)

   it("ends at detach, which shares memory", function()
      local x = leaf{ 1, 2 }
      local d = (x * 2):detach()
      assert.is_false(d.requires_grad)
      assert.is_true(d.is_leaf)
   end)

   it("refuses to change graph members in place", function()
      local x = leaf{ 1, 2 }
      fails("leaf that requires a gradient", function() x[1] = 5 end)
      fails("leaf that requires a gradient", x.fill_, x, 1)
      local y = x * 2
      fails("part of a recorded graph", y.zero_, y)
      fails("which a copy in place would lose", function()
         local buffer = siamese.zeros(2)
         buffer[1] = x[1]
      end)
      siamese.no_grad(function() x[1] = 5 end)
      assert.same({ 5, 2 }, x:totable())
   end)

   it("refuses gradients of integers", function()
      fails("only float32", function() siamese.zeros(2, { dtype = "int64" }).requires_grad = true end)
   end)

   it("leaves nothing behind when an error ends a forward pass", function()
      collectgarbage()
      collectgarbage()
      local before = siamese.memory().live
      for _ = 1, 100 do
         pcall(function()
            local x = siamese.randn(1000, { requires_grad = true })
            local y = (x * 2):exp()
            return y + siamese.zeros(3)
         end)
      end
      collectgarbage()
      collectgarbage()
      assert.is_true(siamese.memory().live - before < 100000)
   end)
end)

describe("shapes_only", function()
   it("gives the shapes that arithmetic would, and occupies nothing", function()
      local before, live = siamese.core.clock(), siamese.memory().live
      siamese.shapes_only(function()
         local x, w = siamese.randn(64, 3, 224, 224), siamese.ones(512, 3, 7, 7)
         local y = siamese.nn.functional.conv2d(x, w, nil, { stride = 2, padding = 3 }):relu()
         assert.same({ 64, 512, 112, 112 }, y.shape)
         assert.same({ 64, 512 }, y:mean{ 3, 4 }.shape)
         assert.is_true(siamese.memory().live - live > 4 * 64 * 512 * 112 * 112)
      end)
      assert.is_true(siamese.core.clock() - before < 0.5)
   end)

   it("makes zeros, and leaves what there was as it is", function()
      local w = siamese.ones(2, { requires_grad = true })
      local y = siamese.shapes_only(function()
         siamese.no_grad(w.mul_, w, 5)
         return (w + 1) * 3
      end)
      assert.same({ 1, 1 }, w:totable())
      assert.same({ 0, 0 }, y:totable())
      assert.is_false(y.requires_grad)
      assert.same({ 2, 2 }, (w + 1):totable())
   end)

   it("computes integers, which may be indices", function()
      local y = siamese.shapes_only(function()
         local i = siamese.tensor({ 1, 2 }, { dtype = "int64" }) + 1
         assert.same({ 2, 3 }, i:totable())
         return siamese.ones(3, 4):index_select(1, i)
      end)
      assert.same({ 2, 4 }, y.shape)
   end)

   it("still says what doesn't fit, and ends whatever happens", function()
      fails("do not broadcast", siamese.shapes_only, function()
         return siamese.ones(2) + siamese.ones(3)
      end)
      assert.same({ 2, 2 }, (siamese.ones(2) + 1):totable())
   end)
end)

describe("work", function()
   local function counted(f)
      local products, bytes = siamese.work()
      f()
      local products_now, bytes_now = siamese.work()
      return products_now - products, bytes_now - bytes
   end

   it("counts those of every layer that multiplies", function()
      local nn = siamese.nn
      local function products(layer, shape)
         return (counted(function()
            layer(siamese.ones(shape))
         end))
      end
      assert.equal(2 * 4 * 3 * (5 * 3), products(nn.Conv1d{ in_channels = 5, out_channels = 4,
         kernel_size = 3 }, { 2, 5, 5 }))
      assert.equal(2 * 5 * 4 * 4 * (3 * 2 * 2), products(nn.ConvTranspose2d{ in_channels = 5,
         out_channels = 3, kernel_size = 2, stride = 2 }, { 2, 5, 4, 4 }))
      assert.equal(7 * 2 * 6 * 4 * (3 + 6), products(nn.LSTM{ input_size = 3, hidden_size = 6 }, { 7, 2, 3 }))
      assert.equal(2 * 7 * 2 * 6 * 3 * (5 + 6), products(nn.GRU{ input_size = 5, hidden_size = 6,
         bidirectional = true }, { 7, 2, 5 }))
      assert.equal(7 * 2 * 6 * (5 + 6) + 7 * 2 * 6 * (6 + 6), products(nn.RNN{ input_size = 5,
         hidden_size = 6, num_layers = 2 }, { 7, 2, 5 }))
   end)

   it("counts multiply-adds and what comes out, run or only shaped", function()
      local F = siamese.nn.functional
      local a, b = siamese.ones(2, 6, 9, 9), siamese.ones(4, 3, 3, 3)
      local function work()
         F.conv2d(a, b, nil, { groups = 2, stride = 2 })
         F.linear(siamese.ones(5, 7), siamese.ones(3, 7), siamese.ones(3))
         siamese.ones(2, 3, 4):matmul(siamese.ones(4, 5))
         siamese.ones(4):matmul(siamese.ones(4))
         return siamese.ones(100):view(10, 10):transpose(1, 2)
      end
      local products = 2 * 4 * 4 * 4 * (3 * 3 * 3) + 5 * 3 * 7 + 2 * 3 * 5 * 4 + 4
      local expected = { products, 4 * (2 * 4 * 4 * 4 + 5 * 3 + 2 * 3 * 5 + 1) }
      assert.same(expected, { counted(work) })
      assert.same(expected, { counted(function() siamese.shapes_only(work) end) })
   end)
end)

describe("gradients of views agree with finite differences:", function()
   local views = {
      reshape = function(x) return x:reshape(4, 6) end,
      ["reshape of a permuted tensor"] = function(x) return x:permute(3, 1, 2):reshape(6, 4) end,
      permute = function(x) return x:permute(2, 3, 1) end,
      transpose = function(x) return x:transpose(1, 3) end,
      narrow = function(x) return x:narrow(2, 2, 2) end,
      select = function(x) return x:select(3, 2) end,
      ["a stepped slice"] = function(x) return x[{ {}, { 1, 3, 2 }, { 2, 4 } }] end,
      expand = function(x) return x:unsqueeze(2):expand(2, 5, 3, 4) end,
      flatten = function(x) return x:flatten(2) end,
      clone = function(x) return x:clone() end,
      contiguous = function(x) return x:transpose(1, 2):contiguous() end,
      ["two uses of parts"] = function(x) return x[1] * x[2] end,
   }
   for name, view in pairs(views) do
      it(name, function()
         siamese.manual_seed(3)
         support.gradcheck(view, { siamese.randn(2, 3, 4) })
      end)
   end
end)

describe("a loop of 10,000 steps", function()
   it("keeps memory flat and, once warm, asks the system for nothing", function()
      siamese.manual_seed(0)
      local w = siamese.randn(64, 64, { requires_grad = true })
      local x = siamese.randn(16, 64)
      local function step()
         w.grad = nil
         local loss = (x:matmul(w)):relu():mean()
         loss:backward()
         siamese.no_grad(function() w:sub_(w.grad * 0.01) end)
      end
      for _ = 1, 1000 do
         step()
      end
      collectgarbage()
      local warm = siamese.memory()
      for _ = 1, 9000 do
         step()
      end
      collectgarbage()
      local after = siamese.memory()
      assert.is_true(after.live - warm.live < 2e6)
      assert.is_true(after.peak - warm.peak < 16e6)
   end)
end)
