--- Weights of others going into a network: what must fit, what may be left out or new, and what is said.
local siamese = require "siamese"
local made = require "spec.support_checkpoints"
local support = require "spec.support"

local nn, weights, temporary = siamese.nn, siamese.weights, made.temporary

--- A little network with a head: a classifier of `classes`, or an embedding.
local Net = nn.Module:extend("Net")

function Net:init(o)
   self.conv = nn.Conv2d{ in_channels = 1, out_channels = 2, kernel_size = 3 }
   self.bn = nn.BatchNorm2d{ num_features = o.width or 2 }
   if o.classes then
      self.fc = nn.Linear{ in_features = 2, out_features = o.classes }
   end
   if o.embedding then
      self.embedding = nn.Linear{ in_features = 2, out_features = o.embedding }
   end
end

local function values(net)
   local all = {}
   for name, tensor in pairs(net:state_dict()) do
      all[name] = tensor:clone()
   end
   return all
end

local function unchanged(net, before)
   for name, tensor in pairs(net:state_dict()) do
      assert.is_true(tensor == before[name], name)
   end
end

local file, classifier

before_each(function()
   siamese.manual_seed(5)
   file = os.tmpname()
   classifier = Net{ classes = 10 }
   assert(classifier:save(file))
end)

after_each(function()
   os.remove(file)
end)

describe("weights.load_into", function()
   it("loads all, and says how much", function()
      local net = Net{ classes = 10 }
      local report = assert(weights.load_into(net, file))
      unchanged(net, values(classifier))
      assert.same({ 9, {}, {} }, { report.loaded, report.left_out, report.new })
      assert.equal(file .. ": 9 tensors loaded", tostring(report))
   end)

   it("leaves the classifier out and lets the embedding be new, where it is told to", function()
      local net = Net{ embedding = 4 }
      local embedding = net.embedding.weight:detach():clone()
      local report = assert(weights.load_into(net, file,
         { new = { "embedding%." }, left_out = { "fc%." } }))
      assert.same({ "fc.weight", "fc.bias" }, report.left_out)
      assert.same({ "embedding.weight", "embedding.bias" }, report.new)
      assert.equal(7, report.loaded)
      assert.is_true(net.conv.weight == classifier.conv.weight)
      assert.is_true(net.embedding.weight == embedding)
      assert.equal(file .. ": 7 tensors loaded; left out: fc.weight [10,2], fc.bias [10]; new: "
         .. "embedding.weight [4,2], embedding.bias [4]", tostring(report))
   end)

   it("keeps parameters parameters", function()
      local net = Net{ classes = 10 }
      assert(weights.load_into(net, file))
      assert.is_true(net.conv.weight.requires_grad and net.conv.weight.is_leaf)
      assert.is_nil(net.conv.weight.grad)
   end)

   it("takes a classifier of another size for a new one, where both are allowed", function()
      local net = Net{ classes = 3 }
      local before = net.fc.weight:detach():clone()
      local report = assert(weights.load_into(net, file, { new = "fc%.", left_out = "fc%." }))
      assert.same({ "fc.weight", "fc.bias" }, report.new)
      assert.same({ "fc.weight", "fc.bias" }, report.left_out)
      assert.is_true(net.fc.weight == before)
   end)

   it("refuses a misfit by name and shape, and changes nothing", function()
      local net = Net{ classes = 3, width = 2 }
      local before = values(net)
      for _, opts in ipairs{ {}, { new = true }, { left_out = true } } do
         local report, message = weights.load_into(net, file, opts)
         assert.is_nil(report)
         assert.equal(file .. ": does not fit Net:\n  fc.weight: expected shape [3,2], got [10,2]\n  "
            .. "fc.bias: expected shape [3], got [10]", message)
         unchanged(net, before)
      end
   end)

   it("names what is missing and what is unexpected", function()
      local report, message = weights.load_into(Net{ embedding = 4 }, file)
      assert.is_nil(report)
      assert.equal(file .. ": does not fit Net:\n  missing: embedding.weight, embedding.bias\n  "
         .. "unexpected: fc.weight, fc.bias", message)
   end)

   it("refuses weights of another network even where everything may be left out", function()
      local other = nn.Sequential{ nn.Linear{ in_features = 2, out_features = 2 } }
      local report, message = weights.load_into(other, file, { new = true, left_out = true })
      assert.is_nil(report)
      assert(message:find("has nothing that fits Sequential: it has conv.weight, conv.bias", 1, true),
         message)
   end)

   it("does without batch norm's counters, as states of before PyTorch 0.4.1 do", function()
      local state = classifier:state_dict()
      state["bn.num_batches_tracked"] = nil
      local net = Net{ classes = 10 }
      assert.equal(8, assert(weights.load_into(net, state)).loaded)
      assert.same({ { "bn.num_batches_tracked" }, {} }, { net:load_state_dict(state) })
      assert(siamese.save(file, state))
      assert(net:load(file))
   end)

   it("takes a table, and says so where it does not fit", function()
      local net = Net{ classes = 10 }
      assert.equal("the state: 9 tensors loaded", tostring(weights.load_into(net, classifier:state_dict())))
      local report, message = weights.load_into(net, { model = { x = siamese.zeros(1) } })
      assert.is_nil(report)
      assert.matches("^the state: does not fit", message)
      report, message = weights.load_into(net, { lr = 1 })
      assert.is_nil(report)
      assert.matches("^the state: holds no state of a module %(it has lr%)", message)
   end)

   it("lists long lists by their beginning", function()
      local state = classifier:state_dict()
      for i = 1, 20 do
         state["extra" .. i] = siamese.zeros(i)
      end
      local report = assert(weights.load_into(Net{ classes = 10 }, state, { left_out = "extra" }))
      assert.equal(20, #report.left_out)
      assert.matches("left out: extra1 %[1%], extra10 %[10%], .*, 14 more$", tostring(report))
      local _, message = weights.load_into(Net{ classes = 10 }, state)
      assert.matches("does not fit Net:\n  unexpected: extra1, extra10, extra11, extra12, extra13, extra14, "
         .. "14 more$", message)
      local wide, narrow = {}, {}
      for i = 1, 4 do
         wide[i] = nn.Linear{ in_features = 2, out_features = 3 }
         narrow[i] = nn.Linear{ in_features = 2, out_features = 1 }
      end
      _, message = weights.load_into(nn.Sequential(narrow), nn.Sequential(wide):state_dict())
      assert.matches("0.weight: expected shape %[1,2%], got %[3,2%]\n  0.bias: .*\n  2 more$", message)
   end)

   it("converts what a file has in other dtypes", function()
      local net = nn.Sequential{ nn.Linear{ in_features = 2, out_features = 2, bias = false } }
      local whole = siamese.tensor({ { 1, 2 }, { 3, 4 } }, { dtype = "int64" })
      assert(weights.load_into(net, { ["0.weight"] = whole }))
      assert.same({ { 1, 2 }, { 3, 4 } }, net[1].weight:totable())
   end)

   it("gives nil and a message for files that are broken, single tensors or not there", function()
      local net = Net{ classes = 10 }
      made.write(file, "nonsense, and more of it")
      for path, text in pairs{ ["/no/such/file"] = "No such file", [file] = "the header says" } do
         local report, message = weights.load_into(net, path)
         assert.is_nil(report)
         assert(message:find(path, 1, true) == 1 and message:find(text, 1, true), message)
      end
      siamese.save(file, siamese.zeros(2))
      local report, message = weights.load_into(net, file)
      assert.is_nil(report)
      assert(message:find("does not fit Net", 1, true), message)
      made.write(file, made.archive(made.tensor{ numel = 1, size = { 1 }, stride = { 1 } },
         { ["0"] = made.floats(1) }))
      for key, text in pairs{ [true] = "but a single tensor", [false] = "but a tensor" } do
         report, message = weights.load_into(net, file, { key = key })
         assert.is_nil(report)
         assert(message:find("holds no state of a module", 1, true) and message:find(text, 1, true), message)
      end
   end)

   it("raises for misuse", function()
      local net = Net{ classes = 10 }
      local fails = support.fails
      fails("weights.load_into: expected a module, got nil", weights.load_into)
      fails("expected a file's name or a table of tensors, got number", weights.load_into, net, 5)
      fails('expected a file\'s name or a table of tensors, got ""', weights.load_into, net, "")
      fails("got a module (give its state_dict())", weights.load_into, net, net)
      fails("unknown option 'leave_out' (did you mean 'left_out'?)", weights.load_into, net, file,
         { leave_out = {} })
      fails("new must be true, a pattern or a list of patterns, got {1}", weights.load_into, net, file,
         { new = { 1 } })
      fails("left_out must be true, a pattern or a list of patterns, got false", weights.load_into, net, file,
         { left_out = false })
      fails("key must be true, a string or a list of strings, got {0.5}", weights.load_into, net, file,
         { key = { 0.5 } })
   end)
end)

describe("a module loads", function()
   it("a checkpoint, wherever its state is and whatever wrapped it", temporary(function(path)
      local net = nn.Sequential{ nn.Linear{ in_features = 2, out_features = 1 } }
      local function tensor(key, ...)
         return made.tensor{ key = key, numel = 2, size = { ... },
            stride = #{ ... } == 2 and { 2, 1 } or { 1 } }
      end
      local state = "}(" .. made.text "module.0.weight" .. tensor("0", 1, 2) .. made.text "module.0.bias"
         .. tensor("1", 1) .. "u"
      local storages = { ["0"] = made.floats(2), ["1"] = made.floats(2) }
      made.write(path, made.archive("}(" .. made.text "epoch" .. "K\1" .. made.text "state_dict" .. state
         .. "u", storages))
      local loaded, report = net:load(path)
      assert.equal(net, loaded)
      assert.equal(2, report.loaded)
      assert.same({ { 0, 1 } }, net[1].weight:totable())
      local done, message = net:load(path, { strip_prefix = false })
      assert.is_nil(done)
      assert(message:find("unexpected: module.0.weight, module.0.bias", 1, true), message)
   end))

   it("its part of a twin's file", temporary(function(path)
      local twin = siamese.Twin{ encoder = Net{ embedding = 4 } }
      assert(twin:save(path))
      local net = Net{ embedding = 4 }
      assert(net:load(path, { strip_prefix = "encoder." }))
      unchanged(net, values(twin.encoder))
   end))

   it("one tensor at a time: the file's are never in memory all at once", temporary(function(path)
      local layers = {}
      for i = 1, 8 do
         layers[i] = nn.Linear{ in_features = 256, out_features = 1024, bias = false }
      end
      local net = nn.Sequential(layers)
      assert(net:save(path))
      collectgarbage()
      siamese.reset_peak_memory()
      local before = siamese.memory().live
      assert(net:load(path))
      local file_size = os.getenv "SIAMESE_SANITIZED" and 8 << 20 or 0 -- then it is copied, not mapped
      assert.is_true(siamese.memory().peak - before - file_size < 1.5 * (1 << 20))
   end))

   it("nothing of stored tensors that outlive their file", temporary(function(path)
      siamese.save(path, { x = siamese.ones(3) })
      local state, _, opened = siamese.core.load_tensors(path, function(_, t) return t end, true)
      assert.is_true(siamese.core.is_stored(state.x))
      assert.same({ { 3 }, "float32" }, { state.x.shape, state.x.dtype })
      assert.same({ 1, 1, 1 }, state.x:read():totable())
      opened:close()
      opened:close()
      support.fails("the file of the stored tensor has been closed", function() return state.x.shape end)
      state, _, opened = siamese.core.load_tensors(path, function(_, t) return t end, true)
      local read = state.x.read
      opened:close()
      support.fails("has been closed", read, state.x)
      support.fails("siamese.StoredTensor expected", read, opened)
   end))
end)
