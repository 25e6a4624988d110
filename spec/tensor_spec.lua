--- Tensors in Lua: construction, looking, views, indexing, assignment, printing.
local siamese = require "siamese"

local function fails(pattern, f, ...)
   local ok, message = pcall(f, ...)
   assert.is_false(ok, "expected an error like: " .. pattern)
   assert.matches(pattern, message, 1, true)
end

describe("construction", function()
   it("takes a nested table, float32 by default", function()
      local t = siamese.tensor{ { 1, 2.5 }, { -3, 4 } }
      assert.same({ 2, 2 }, t.shape)
      assert.equal("float32", t.dtype)
      assert.same({ { 1, 2.5 }, { -3, 4 } }, t:totable())
   end)

   it("keeps 64-bit integers exact", function()
      local t = siamese.tensor({ math.maxinteger, math.mininteger }, { dtype = "int64" })
      assert.same({ math.maxinteger, math.mininteger }, t:totable())
   end)

   it("takes numbers, booleans, empty tables and tensors", function()
      assert.same({}, siamese.tensor(3).shape)
      assert.equal(3, siamese.tensor(3):item())
      assert.same({ 1, 0 }, siamese.tensor({ true, false }, { dtype = "uint8" }):totable())
      assert.same({ 0 }, siamese.tensor({}).shape)
      assert.same({ 2, 0 }, siamese.tensor({ {}, {} }).shape)
      local t = siamese.tensor{ 1, 2 }
      local copy = siamese.tensor(t)
      copy[1] = 9
      assert.same({ 1, 2 }, t:totable())
   end)

   it("names the place of what is wrong in a table", function()
      fails("ragged table: [2] has 1 elements, shape [2,2] wants 2", siamese.tensor, { { 1, 2 }, { 3 } })
      fails("element [1,2] is a string, expected a number", siamese.tensor, { { 1, "x" } })
      fails("element [2] is a number, expected a table", siamese.tensor, { { 1 }, 2 })
      fails("element [2] is a table, expected a number", siamese.tensor, { 1, { 2 } })
      fails("holes or keys other than 1..", siamese.tensor, { 1, 2, x = 3 })
      local holed = { 1, 2, 3, 4 }
      holed[2] = nil
      fails("tensor: ", siamese.tensor, holed)
      fails("element [1] is 1.5, which is no int64", siamese.tensor, { 1.5 }, { dtype = "int64" })
      fails("element [1] is 256.0, which is no uint8", siamese.tensor, { 256 }, { dtype = "uint8" })
      fails("siamese.stack joins tensors", siamese.tensor, { siamese.zeros(2) })
   end)

   it("refuses a table that contains itself", function()
      local t = {}
      t[1] = t
      fails("nest deeper than 8 levels", siamese.tensor, t)
   end)

   it("rejects unknown options, dtypes and gradients of integers", function()
      fails("unknown option 'dtyp'", siamese.zeros, 2, { dtyp = "int64" })
      fails("dtype must be float32, int64 or uint8, got 'double'", siamese.zeros, 2, { dtype = "double" })
      fails("only float32 tensors can require a gradient", siamese.zeros, 2,
         { dtype = "int64", requires_grad = true })
   end)

   it("refuses sizes that overflow, are negative or are too many", function()
      fails("too large to address", siamese.zeros, 1 << 40, 1 << 40)
      fails("out of memory", siamese.zeros, 1 << 45)
      fails("negative size in shape [2,-1]", siamese.zeros, 2, -1)
      fails("at most 8 dimensions", siamese.zeros, { 1, 1, 1, 1, 1, 1, 1, 1, 1 })
      fails("sizes expected, got string", siamese.zeros, "3")
      fails("size 1 must be an integer, got 1.5", siamese.zeros, 1.5)
   end)

   it("fills", function()
      assert.same({ { 1, 1 } }, siamese.ones(1, 2):totable())
      assert.same({ 7, 7 }, siamese.full({ 2 }, 7, { dtype = "int64" }):totable())
      assert.same({ 0, 0.5, 1, 1.5 }, siamese.arange(0, 2, 0.5):totable())
      assert.same({ 3, 2, 1 }, siamese.arange(3, 0, -1):totable())
      assert.same({ 0, 1, 2 }, siamese.arange(3, { dtype = "int64" }):totable())
      assert.same({ { 1, 0 }, { 0, 1 } }, siamese.eye(2):totable())
      assert.same({ 5, 5 }, siamese.zeros(2):full_like(5):totable())
      assert.same({ 1, 1 }, siamese.zeros(2, { dtype = "uint8" }):ones_like():totable())
      assert.same({ 0 }, siamese.arange(5, 1).shape)
   end)
end)

describe("random numbers", function()
   it("repeat with the seed, whatever the number of threads", function()
      local threads = siamese.get_threads()
      local draws = {}
      for i, n in ipairs{ 1, 2, 3 } do
         siamese.set_threads(n)
         siamese.manual_seed(42)
         draws[i] = siamese.randn(10001)
      end
      siamese.set_threads(threads)
      assert.is_true(draws[1] == draws[2])
      assert.is_true(draws[1] == draws[3])
   end)

   it("have the moments they should", function()
      siamese.manual_seed(1)
      local z = siamese.randn(100000)
      assert.near(0, z:mean():item(), 0.02)
      assert.near(1, z:std():item(), 0.02)
      local u = siamese.rand(100000)
      assert.near(0.5, u:mean():item(), 0.01)
      assert.is_true(u:min():item() >= 0 and u:max():item() < 1)
   end)

   it("have a state that can be put back", function()
      siamese.manual_seed(7)
      siamese.randn(5)
      local state = siamese.get_rng_state()
      local a = siamese.rand(3)
      siamese.set_rng_state(state)
      assert.is_true(a == siamese.rand(3))
      fails("expected a state", siamese.set_rng_state, { 1 })
   end)

   it("permute and draw integers", function()
      local seen = {}
      for _, i in ipairs(siamese.randperm(50):totable()) do
         seen[i] = true
      end
      assert.equal(50, #seen)
      local d = siamese.randint(-2, 2, 1000)
      assert.equal(-2, d:min():item())
      assert.equal(2, d:max():item())
   end)
end)

describe("views", function()
   local t
   before_each(function()
      t = siamese.arange(24):reshape(2, 3, 4)
   end)

   it("share memory", function()
      t:view(24)[1] = 100
      assert.equal(100, t[{ 1, 1, 1 }]:item())
      t:transpose(1, 3)[{ 4, 3, 2 }] = -1
      assert.equal(-1, t[{ 2, 3, 4 }]:item())
   end)

   it("reshape with one size to work out", function()
      assert.same({ 6, 4 }, t:reshape(-1, 4).shape)
      assert.same({ 2, 12 }, t:flatten(2).shape)
      assert.same({ 6, 4 }, t:flatten(1, 2).shape)
      assert.same({ 24 }, t:flatten().shape)
      fails("shape [2,3,4] (24 elements) does not fit [5,-1]", t.reshape, t, 5, -1)
   end)

   it("tell a view that would need a copy from a reshape", function()
      local p = t:permute(3, 1, 2)
      fails("use reshape", p.view, p, 24)
      assert.equal(4, p:reshape(24)[2]:item())
      assert.same({ 4, 6 }, p:view(4, 6).shape)
      assert.same(p:totable()[2][2], p:view(4, 6)[2]:narrow(1, 4, 3):totable())
   end)

   it("permute, transpose, squeeze, unsqueeze, expand, narrow, select, unbind", function()
      assert.same({ 4, 2, 3 }, t:permute(3, 1, 2).shape)
      assert.same({ 4, 3, 2 }, t:transpose(-1, 1).shape)
      assert.same({ 1, 2, 1, 3, 4 }, t:unsqueeze(2):unsqueeze(1).shape)
      assert.same({ 2, 3, 4, 1 }, t:unsqueeze(-1).shape)
      assert.same({ 2, 3, 4 }, t:unsqueeze(2):squeeze().shape)
      assert.same({ 2, 1, 3, 4 }, t:unsqueeze(2):squeeze(1).shape)
      assert.same({ { 1, 1 }, { 2, 2 } }, siamese.tensor{ { 1 }, { 2 } }:expand(2, 2):totable())
      assert.same({ 5, 2, 3, 4 }, t:expand(5, -1, -1, -1).shape)
      assert.same({ { 4, 5, 6, 7 } }, t[1]:narrow(1, 2, 1):totable())
      assert.same({ 1, 5, 9 }, t[1]:select(2, 2):totable())
      assert.equal(3, #t:unbind(2))
      fails("each dimension of shape [2,3,4] exactly once", t.permute, t, 1, 1, 2)
      fails("shape [2,3,4] cannot expand to [3,3,4]", t.expand, t, 3, 3, 4)
      fails("start 3, length 2 is out of range for dimension 2 of shape [2,3,4]", t.narrow, t, 2, 3, 2)
      fails("index 5 is out of range for dimension 3", t.select, t, 3, 5)
      fails("dimension 4 is out of range for a 3-D tensor", t.select, t, 4, 1)
   end)

   it("survive zero sizes", function()
      local z = siamese.zeros(0, 3)
      assert.same({ 3, 0 }, z:t().shape)
      assert.same({ 0, 3, 1 }, z:unsqueeze(3).shape)
      assert.same({ 0 }, z:flatten().shape)
      assert.same({}, z:totable())
      assert.equal(0, z:clone():numel())
      assert.same({ 0, 2, 3 }, z:unsqueeze(2):expand(0, 2, 3).shape)
   end)
end)

describe("indexing", function()
   local t
   before_each(function()
      t = siamese.arange(12):reshape(3, 4)
   end)

   it("selects, slices and steps, from either end", function()
      assert.same({ 8, 9, 10, 11 }, t[3]:totable())
      assert.same(t[3]:totable(), t[-1]:totable())
      assert.same({ { 0, 1 }, { 4, 5 } }, t[{ { 1, 2 }, { 1, 2 } }]:totable())
      assert.same({ 1, 5, 9 }, t[{ {}, 2 }]:totable())
      assert.same({ { 0, 2 }, { 8, 10 } }, t[{ { 1, 3, 2 }, { 1, 4, 2 } }]:totable())
      assert.same({ { 6, 7 } }, t[{ { 2 }, { -2, -1 } }]:totable())
      assert.same({ 0, 4 }, t[{ { 1, 0 } }].shape)
      assert.equal(6, t[{ 2, 3 }]:item())
      assert.equal(3, #t)
   end)

   it("takes an int64 tensor of rows", function()
      local rows = t[siamese.tensor({ 3, 1 }, { dtype = "int64" })]
      assert.same({ { 8, 9, 10, 11 }, { 0, 1, 2, 3 } }, rows:totable())
   end)

   it("assigns numbers and tensors, broadcast and converted", function()
      t[1] = 5
      t[{ {}, 4 }] = siamese.tensor({ 1, 2, 3 }, { dtype = "int64" })
      assert.same({ { 5, 5, 5, 1 }, { 4, 5, 6, 2 }, { 8, 9, 10, 3 } }, t:totable())
      t[{ { 1, 2 } }] = t[{ { 2, 3 } }] -- overlapping
      assert.same({ { 4, 5, 6, 2 }, { 8, 9, 10, 3 }, { 8, 9, 10, 3 } }, t:totable())
      fails("shape [3] does not fit into [4]", function() t[1] = siamese.zeros(3) end)
   end)

   it("says what is out of range or no index", function()
      fails("index 4 is out of range for dimension 1 of shape [3,4]", function() return t[4] end)
      fails("index 0 is out of range", function() return t[0] end)
      fails("index must be an integer, got 1.5", function() return t[1.5] end)
      fails("range {2,5,1} is out of range for dimension 2 of shape [3,4]",
         function() return t[{ {}, { 2, 5 } }] end)
      fails("too many indices for shape [3,4]", function() return t[{ {}, {}, {} }] end)
      fails("no field or method 'foo'", function() return t.foo end)
      fails("cannot set field 'shape'", function() t.shape = { 1 } end)
      fails("cannot index a tensor with a boolean", function() return t[true] end)
   end)
end)

describe("conversion", function()
   it("truncates toward zero and saturates", function()
      local t = siamese.tensor{ -1.7, 1.7, 300, 1e30, -1e30, 0 / 0 }
      assert.same({ -1, 1, 300, math.maxinteger, math.mininteger, 0 }, t:long():totable())
      assert.same({ 0, 1, 255, 255, 0, 0 }, t:byte():totable())
      assert.same({ 0, 255 }, siamese.tensor({ -5, 1000 }, { dtype = "int64" }):byte():totable())
      assert.same({ 2 }, siamese.tensor({ 2 }, { dtype = "uint8" }):float():totable())
      assert.equal("int64", t:to("int64").dtype)
   end)

   it("gives back the tensor itself where nothing is to do", function()
      local t = siamese.zeros(2)
      assert.is_true(rawequal(t, t:float()))
      assert.is_true(rawequal(t, t:contiguous()))
   end)
end)

describe("freeing", function()
   it("makes any later use an error, and twice is harmless", function()
      local t = siamese.zeros(3)
      local view = t[{ { 1, 2 } }]
      t:free()
      t:free()
      assert.equal("tensor (freed)", tostring(t))
      fails("the tensor has been freed", t.size, t)
      fails("the tensor has been freed", function() return t[1] end)
      fails("the tensor has been freed", function() return t + 1 end)
      assert.same({ 0, 0 }, view:totable())
   end)

   it("happens at the end of a <close> variable", function()
      local outer
      do
         local t <close> = siamese.zeros(3)
         outer = t
      end
      assert.equal("tensor (freed)", tostring(outer))
   end)

   it("of an operand of a graph does not hurt backward", function()
      local w = siamese.tensor({ 2, 3 }, { requires_grad = true })
      local x = siamese.tensor{ 5, 7 }
      local loss = (w * x):sum()
      x:free()
      loss:backward()
      assert.same({ 5, 7 }, w.grad:totable())
   end)
end)

describe("printing", function()
   it("aligns columns", function()
      assert.equal("tensor([[ 1.0000,  2.5000],\n        [-3.0000,  4.0000]]) float32 [2,2]",
         tostring(siamese.tensor{ { 1, 2.5 }, { -3, 4 } }))
   end)

   it("shortens what is large", function()
      local text = tostring(siamese.zeros(100, 100))
      assert.matches("0., 0., 0., ..., 0., 0., 0.", text, 1, true)
      assert.is_true(#text < 500)
   end)

   it("shows whole, huge, tiny, odd and no numbers", function()
      assert.equal("tensor([1., 2.]) float32 [2]", tostring(siamese.tensor{ 1, 2 }))
      assert.equal("tensor(3) int64 []", tostring(siamese.tensor(3, { dtype = "int64" })))
      assert.equal("tensor([]) float32 [0]", tostring(siamese.tensor{}))
      assert.equal("tensor([1.0000e+20, 1.0000e+00]) float32 [2]", tostring(siamese.tensor{ 1e20, 1 }))
      assert.equal("tensor([   nan,    inf,   -inf, 1.5000]) float32 [4]",
         tostring(siamese.tensor{ 0 / 0, math.huge, -math.huge, 1.5 }))
      assert.matches("requires_grad$", tostring(siamese.zeros(1, { requires_grad = true })))
   end)
end)

describe("memory", function()
   local function live()
      collectgarbage()
      collectgarbage()
      return siamese.memory().live
   end

   it("stays flat while a script makes 100,000 tensors and never collects", function()
      local before = live()
      siamese.reset_peak_memory()
      for _ = 1, 100000 do
         local _ = siamese.zeros(1000)
      end
      assert.is_true(siamese.memory().peak - before < 100e6)
      assert.is_true(live() - before < 1e6)
   end)

   it("stays flat with large tensors and a large Lua heap", function()
      local heap = {}
      for i = 1, 200000 do
         heap[i] = { i }
      end
      local before = live()
      siamese.reset_peak_memory()
      for _ = 1, 3000 do
         local _ = siamese.empty(250000)
      end
      assert.is_true(siamese.memory().peak - before < 1.5e9)
      assert.equal(200000, #heap)
   end)

   it("obeys a limit, after a collection, with an error that a script can catch", function()
      live()
      siamese.set_memory_limit(siamese.memory().live + 64e6 // 1 | 0)
      fails("out of memory", siamese.zeros, 1 << 25)
      for _ = 1, 100 do
         local _ = siamese.zeros(1 << 22) -- 16 MB each: fits only if the dead ones go
      end
      siamese.set_memory_limit(0)
      assert.equal(1 << 25, siamese.zeros(1 << 25):numel())
   end)
end)

describe("topk", function()
   it("gives what begins the sorted values, ties in order and NaN as the largest, whatever k", function()
      local generator, rows = siamese.Generator(4), {}
      for i = 1, 3 do
         rows[i] = {}
         for j = 1, 200 do
            rows[i][j] = j % 37 == 0 and 0 / 0 or generator:random(40)
         end
      end
      local plain = siamese.tensor(rows)
      local across = siamese.tensor(rows):t():contiguous():t()
      local function text(x)
         return table.concat(x:reshape(-1):totable(), " "):gsub("%-nan", "nan")
      end
      for _, descending in ipairs{ true, false } do
         local values, positions = plain:sort(2, descending)
         for _, k in ipairs{ 1, 2, 10, 63, 64, 65, 200 } do
            for _, x in ipairs{ plain, across } do
               local some, places = x:topk(k, 2, descending)
               assert.equal(text(values:narrow(2, 1, k)), text(some))
               assert.is_true(places == positions:narrow(2, 1, k))
            end
            local some, places = plain:t():topk(k, 1, descending)
            assert.equal(text(values:narrow(2, 1, k):t()), text(some))
            assert.is_true(places == positions:narrow(2, 1, k):t())
         end
      end
      assert.same({ 3, 0 }, plain:topk(0, 2).shape)
   end)
end)
