--- Every function of the core with arguments of every kind: it may refuse them, with a message, but the
-- process goes on. Seeded; under the sanitizers it finds more.
local siamese = require "siamese"

local core = siamese.core
local SKIP = { set_threads = true, set_memory_limit = true, set_isa = true, no_grad = true,
   enable_grad = true, shapes_only = true, set_grad_enabled = true, manual_seed = true,
   set_rng_state = true, save_tensors = true, save_png = true,
   write_file = true, isatty = true }

local function tensors()
   local freed = siamese.zeros(2, 2)
   freed:free()
   local strided = siamese.randn(4, 3, 2):permute(3, 1, 2)
   return { siamese.randn(2, 3), siamese.randn(3, 4), siamese.randn(5), siamese.tensor(2.5),
      siamese.randn(2, 3, 6, 6), siamese.randn(4, 3, 3, 3), siamese.zeros(0, 3), strided,
      siamese.tensor({ 1, 2, 3 }, { dtype = "int64" }), siamese.tensor({ 2, 1 }, { dtype = "int64" }),
      siamese.tensor({ { 0, 1, 1 }, { 1, 0, 0 } }, { dtype = "uint8" }),
      siamese.randn(2, 3, { requires_grad = true }), siamese.randn(2, 3, 6, 6):requires_grad_() * 2,
      siamese.tensor{ 0 / 0, 1 / 0, -1 / 0 }, siamese.zeros(1, 1, 1, 1, 1, 1, 1, 2), freed,
      siamese.zeros(2, 0, 4, 4), siamese.ones(3, 8, 8, { dtype = "uint8" }), siamese.randn(2, 3, 5),
      siamese.randn(16, 5), siamese.randn(16, 4):requires_grad_() }
end

local function others(random)
   return { 0, 1, 2, 3, -1, -2, 1.5, 1e9, -1e18, 0 / 0, 1 / 0, math.maxinteger, math.mininteger, "",
      "float32", "int64", "x", true, false, print, {}, { 1, 2 }, { 2, 3, 1 }, { 1, "x" }, { { 1, 2 }, { 3 } },
      { -1, 0 }, { 1, -1, 2, 0 }, { 1 << 40, 1 << 40 }, "reflect", "circular", { dtype = "int64" },
      { requires_grad = true }, { keepdim = true }, { output_padding = 1, stride = 2 },
      "lstm", "gru", "rnn_tanh", { lengths = { 1, 2, 3 } }, { h0 = siamese.randn(3, 4), batch_first = true },
      { kernel_size = random(4), stride = random(3), padding = random(3) - 1 }, { padding = "same" },
      { stride = { 1, 2 }, dilation = 2, groups = random(3) }, { training = true }, { reduction = "none" },
      { margin = 0.5, squared = true }, { p = 1 }, { kernel_size = 1 << 40 }, { stride = 0 },
      { channels = 3, dtype = "float32" }, siamese.Generator(1) }
end

describe("the core", function()
   local functions = {}
   for group, list in pairs{ core = core, F = core.F, imaging = core.imaging, loading = core.loading,
      optim = core.optim, evaluation = core.evaluation, mining = core.mining } do
      for name, f in pairs(list) do
         if type(f) == "function" and not SKIP[name] then
            functions[#functions + 1] = { group .. "." .. name, f }
         end
      end
   end
   table.sort(functions, function(a, b) return a[1] < b[1] end)

   after_each(function()
      siamese.set_memory_limit(0)
      siamese.set_grad_enabled(true)
      collectgarbage()
   end)

   local function try_all(seed)
      local generator = siamese.Generator(seed)
      local function random(n)
         return generator:random(n)
      end
      siamese.set_memory_limit(siamese.memory().live + (256 << 20))
      for _, entry in ipairs(functions) do
         for _ = 1, 60 do
            local pool, rest, arguments = tensors(), others(random), {}
            local count = random(6) - 1
            for i = 1, count do
               local list = random(10) <= (i == 1 and 9 or 5) and pool or rest
               arguments[i] = list[random(#list)]
            end
            local results = table.pack(pcall(entry[2], table.unpack(arguments, 1, count)))
            if not results[1] then
               assert.equal("string", type(results[2]), entry[1])
               assert.is_true(#results[2] > 3, entry[1])
            elseif siamese.is_tensor(results[2]) and results[2].requires_grad then
               pcall(results[2].backward, results[2], siamese.ones(results[2].shape))
            end
         end
      end
   end

   it("takes any arguments without harm", function()
      try_all(2024)
   end)

   it("takes them where nothing is computed", function()
      siamese.shapes_only(try_all, 2025)
   end)

   it("takes whole layers without memory: an error, and all of it is given back", function()
      collectgarbage()
      collectgarbage()
      local before = siamese.memory().live
      local net = siamese.models.conv4()
      local x = siamese.randn(8, 1, 28, 28)
      for step = 1, 60 do
         siamese.set_memory_limit(siamese.memory().live + step * 40000)
         local ok, message = pcall(function()
            net(x):sum():backward()
         end)
         siamese.set_memory_limit(0)
         assert.is_true(ok or message:find("memory", 1, true) ~= nil, tostring(message))
         net:zero_grad()
      end
      net, x = nil, nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.is_true(siamese.memory().live - before < 1e6)
   end)
end)
