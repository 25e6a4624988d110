--- Models that travel in one file: built again by their record, with their weights bit by bit, their
-- preprocessing and their mode; and files whose record is broken or lies.
local siamese = require "siamese"
local json = require "siamese.json"
local made = require "spec.support_checkpoints"
local support = require "spec.support"

local models, nn, temporary = siamese.models, siamese.nn, made.temporary

local function same_state(a, b)
   local theirs, count = b:state_dict(), 0
   for name, tensor in pairs(a:state_dict()) do
      assert.is_true(tensor == theirs[name], name)
      assert.equal(tensor.dtype, theirs[name].dtype)
      count = count + 1
   end
   for _ in pairs(theirs) do
      count = count - 1
   end
   assert.equal(0, count)
end

local function train_a_little(net, ...)
   net:train()
   for _ = 1, 2 do
      net(...)
   end
end

describe("siamese.load_model", function()
   before_each(function()
      siamese.manual_seed(8)
   end)

   it("builds a model again, bit by bit", temporary(function(path)
      local x = siamese.randn(3, 1, 28, 28)
      for _, net in ipairs{ models.conv4{ width = 4, embedding = 5 }, models.lenet5{ embedding = 7 } } do
         train_a_little(net, x)
         assert(siamese.save(path, net, { metadata = { epoch = "3" } }))
         local again, metadata = assert(siamese.load_model(path))
         assert.equal("3", metadata.epoch)
         assert.equal(tostring(net), tostring(again))
         same_state(net, again)
         assert.is_true(net:eval()(x) == again:eval()(x))
      end
   end))

   it("builds a twin again, with its head or its distance", temporary(function(path)
      local a, b = siamese.randn(4, 1, 28, 28), siamese.randn(4, 1, 28, 28)
      local twins = { siamese.Twin{ encoder = models.conv4{ width = 4 }, distance = "cosine" },
         siamese.Twin{ encoder = models.lenet5{ embedding = 6 }, head = nn.WeightedL1{ features = 6 } },
         siamese.Twin{ distance = "l1", encoder = nn.Sequential{ nn.Flatten{},
            nn.Linear{ in_features = 784, out_features = 3 }, nn.L2Normalize{} } } }
      for _, twin in ipairs(twins) do
         train_a_little(twin, a, b)
         assert(twin:save(path))
         local again = assert(siamese.load_model(path))
         same_state(twin, again)
         assert.equal(tostring(twin), tostring(again))
         assert.is_true(twin:eval()(a, b) == again:eval()(a, b))
         assert.is_true(twin:similarity(a, b) == again:similarity(a, b))
      end
   end))

   it("builds every kind of layer again", temporary(function(path)
      local layers = {
         nn.Conv2d{ in_channels = 2, out_channels = 3, kernel_size = 3,
            padding = 1, padding_mode = "reflect" },
         nn.Conv1d{ in_channels = 2, out_channels = 3, kernel_size = 3, padding = "same" },
         nn.ConvTranspose2d{ in_channels = 2, out_channels = 3, kernel_size = { 3, 2 }, stride = 2 },
         nn.Embedding{ num_embeddings = 5, embedding_dim = 2, padding_idx = -1 },
         nn.GroupNorm{ num_groups = 2, num_channels = 4 }, nn.LocalResponseNorm{ size = 5 },
         nn.InstanceNorm2d{ num_features = 4, track_running_stats = true, affine = true },
         nn.GeM{ p = 2.5 }, nn.AdaptiveMaxPool2d{ output_size = { 2, 3 } }, nn.MaxPool1d{ kernel_size = 2 },
         nn.ConstantPad2d{ padding = { 1, 2, 3, 4 }, value = 0.5 }, nn.ReflectionPad1d{ padding = 1 },
         nn.PReLU{ num_parameters = 3 }, nn.ELU{ alpha = 0.5 }, nn.Softplus{ beta = 2 }, nn.Hardswish{},
         nn.RNN{ input_size = 2, hidden_size = 3, nonlinearity = "relu" },
         nn.GRU{ input_size = 2, hidden_size = 3, bidirectional = true },
         nn.LSTM{ input_size = 2, hidden_size = 3, num_layers = 2, batch_first = true, dropout = 0.5 } }
      for _, layer in ipairs(layers) do
         assert(siamese.save(path, layer))
         local again = assert(siamese.load_model(path))
         assert.equal(tostring(layer), tostring(again))
         same_state(layer, again)
      end
   end))

   it("brings the preprocessing and the mode along", temporary(function(path)
      local pre = siamese.Preprocess{ size = 28, channels = "grey", mean = 0.1307, std = 0.3081 }
      local twin = siamese.Twin{ encoder = models.lenet5{}, preprocess = pre }:eval()
      assert(twin:save(path))
      local again = assert(siamese.load_model(path))
      assert.same(pre, again.preprocess)
      assert.is_false(again.training)
      assert.is_false(again.encoder.training)
      local photo = (siamese.rand(3, 40, 50) * 255):byte()
      assert.is_true(twin:embed(photo) == again:embed(photo))
      assert(twin:train():save(path))
      assert.is_true(assert(siamese.load_model(path)).encoder.training)
   end))

   it("brings the encoder's preprocessing along; so do other ways to load", temporary(function(path)
      local net = models.lenet5{}
      net.preprocess = { size = 28, channels = "grey" }
      assert(siamese.Twin{ encoder = net }:save(path))
      local twin = assert(siamese.load_model(path))
      assert.same({ 28, 28 }, twin.preprocess.size)
      assert(net:save(path))
      local other, third = models.lenet5{}, models.lenet5{}
      assert(other:load(path))
      assert.equal("grey", other.preprocess.channels)
      assert(siamese.weights.load_into(third, path))
      assert.equal("grey", third.preprocess.channels)
      local own = siamese.Preprocess{ size = 32 }
      third.preprocess = own
      assert(third:load(path))
      assert.equal(own, third.preprocess)
   end))

   it("leaves the random numbers as they were", temporary(function(path)
      assert(models.lenet5{}:save(path))
      siamese.manual_seed(4)
      local want = siamese.rand(3)
      siamese.manual_seed(4)
      assert(siamese.load_model(path))
      assert.is_true(want == siamese.rand(3))
   end))

   it("leaves the memory limit as it was", temporary(function(path)
      assert(models.lenet5{}:save(path))
      local before = siamese.memory().limit
      assert(siamese.load_model(path))
      assert.equal(before, siamese.memory().limit)
   end))

   it("says that a file does not say how its model was built", temporary(function(path)
      local Net = nn.Module:extend("Net")
      function Net:init()
         self.fc = nn.Linear{ in_features = 1, out_features = 1 }
      end
      local changed = models.lenet5{}
      changed.extra = Net()
      for _, case in ipairs{ { Net(), " (nothing can build a Net again)" },
         { siamese.Twin{ encoder = Net() }, " (its encoder: nothing can build a Net again)" },
         { changed, " (module 11 of it: nothing can build a Net again)" },
         { { x = siamese.zeros(1) }, "" } } do
         assert(siamese.save(path, case[1]))
         local model, message = siamese.load_model(path)
         assert.is_nil(model)
         assert.equal(path .. ": does not say how its model was built" .. case[2]
            .. "; build one, and load the file into that", message)
      end
      made.write(path, made.archive(made.integer(1)))
      local model, message = siamese.load_model(path)
      assert.is_nil(model)
      assert.matches("does not say how its model was built", message)
   end))

   it("gives nil and a message where there is no file, and raises where there is no name", function()
      local model, message = siamese.load_model("/no/such/file")
      assert.is_nil(model)
      assert.matches("^/no/such/file: No such file", message)
      support.fails("siamese.load_model: path must be the name of a file, got nil", siamese.load_model)
   end)

   it("keeps its key in the metadata to itself", function()
      support.fails("the key 'siamese.model' of metadata is the module's own", siamese.save, "x",
         models.lenet5{}, { metadata = { ["siamese.model"] = "{}" } })
   end)
end)

describe("a model's record in a file", function()
   --- What load_model says of a LeNet-5's file with that record (text, or data to be written as JSON).
   local function loaded(record)
      local model, message
      temporary(function(path)
         local net = models.lenet5{ embedding = 2 }
         assert(net:save(path))
         local bytes = made.read(path)
         local length = ("<I8"):unpack(bytes)
         local header = assert(json.decode(bytes:sub(9, 8 + length)))
         header.__metadata__["siamese.model"] = type(record) == "string" and record or json.encode(record)
         local text = json.encode(header)
         made.write(path, ("<I8"):pack(#text) .. text .. bytes:sub(9 + length))
         model, message = siamese.load_model(path)
         if not model then
            assert(message:find(path, 1, true) == 1, message)
         end
      end)()
      return model, message
   end
   local function refused(text, record)
      local model, message = loaded(record)
      assert.is_nil(model)
      assert(message:find(text, 1, true), ("expected: %s\ngot: %s"):format(text, message))
   end
   local lenet = { name = "models.lenet5", options = { embedding = 2 } }

   it("is data, which others may write", function()
      assert.equal("LeNet5", loaded{ format = 1, model = lenet }.__name)
   end)

   it("that is broken gives nil and a message", function()
      local broken = "the record of its model is broken: "
      refused(broken .. "broken JSON", "{")
      refused(broken .. "broken JSON", "os.exit()")
      refused(broken .. "it is no record", "[]")
      refused(broken .. "it is no record", "3")
      refused(broken .. "it is of format 2, expected 1", { format = 2, model = lenet })
      refused(broken .. "it has the unknown key 'code'", { format = 1, model = lenet, code = "os.exit()" })
      refused(broken .. "it has the unknown key 'model', or null there", '{"format":1,"model":null}')
      refused(broken .. "training is neither true nor false", { format = 1, model = lenet, training = 1 })
      refused(broken .. "Preprocess: unknown option 'x'", { format = 1, model = lenet,
         preprocess = { x = 1 } })
      refused(broken .. "Preprocess: size and resize must be at most", { format = 1, model = lenet,
         preprocess = { size = 1 << 40 } })
      refused("does not say how its model was built", { format = 1 })
   end)

   it("that names what nobody builds, or has senseless options, gives nil and a message", function()
      local cannot = "its model cannot be built: "
      refused(cannot .. "nothing here builds 'os.execute'", { format = 1,
         model = { name = "os.execute", options = { "true" } } })
      refused(cannot .. "a record of a module must have a name and options", { format = 1, model = "x" })
      refused(cannot .. "models.lenet5: unknown option 'embeding'", { format = 1,
         model = { name = "models.lenet5", options = { embeding = 2 } } })
      refused(cannot .. "models.lenet5: embedding must be an integer of at least 1, got -3", { format = 1,
         model = { name = "models.lenet5", options = { embedding = -3 } } })
      refused(cannot .. "models.koch: filters must be four integers", { format = 1,
         model = { name = "models.koch", options = { filters = "x" } } })
      refused("is not data", '{"format":1,"model":{"name":"models.lenet5","options":{"embedding":null}}}')
   end)

   it("of another network than the weights' gives nil and what does not fit", function()
      refused("does not fit LeNet5:\n  9.weight: expected shape [3,120], got [2,120]", { format = 1,
         model = { name = "models.lenet5", options = { embedding = 3 } } })
   end)

   it("that asks for far more memory than the file has weights gets none", function()
      local limit, before = siamese.memory().limit, siamese.memory().live
      siamese.reset_peak_memory()
      for _, model in ipairs{ { name = "models.koch", options = {} },
         { name = "models.conv4", options = { width = 1 << 20 } },
         { name = "nn.Linear", options = { in_features = 1 << 40, out_features = 1 << 40 } } } do
         refused("cannot be built", { format = 1, model = model })
      end
      assert.is_true(siamese.memory().peak - before < 32 << 20)
      assert.equal(limit, siamese.memory().limit)
   end)

   it("changed anywhere is read or refused, and never breaks", temporary(function(path)
      local twin = siamese.Twin{ encoder = models.lenet5{ embedding = 2 }, preprocess = { size = 28 } }
      assert(twin:save(path))
      local bytes = made.read(path)
      local generator = siamese.Generator(6)
      local first, last = bytes:find("siamese.model", 1, true), bytes:find("\"},", 1, true)
      for _ = 1, 300 do
         local at = first + generator:random(last - first) - 1
         made.write(path, bytes:sub(1, at - 1) .. string.char(31 + generator:random(95)) .. bytes:sub(at + 1))
         local model, message = siamese.load_model(path)
         assert(model or message:find(path, 1, true) == 1, message)
      end
   end))
end)
