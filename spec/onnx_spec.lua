--- siamese.onnx.export: the file read back, and run; what is refused; how it is written.
local siamese = require "siamese"
local onnx = require "spec.support_onnx"
local support = require "spec.support"
local files = require "spec.support_files"

local nn, models = siamese.nn, siamese.models
local F = nn.functional

--- A module with this forward.
local function module_of(forward, name)
   local class = nn.Module:extend(name or "Own")
   class.forward = function(_, ...) return forward(...) end
   return class()
end

describe("an export to ONNX", function()
   local folder, path

   before_each(function()
      folder = files.temp_folder()
      path = folder .. "/model.onnx"
      siamese.manual_seed(1)
   end)

   after_each(function()
      files.remove(folder)
   end)

   local function export(module, opts)
      assert(siamese.onnx.export(path, module, opts))
      return onnx.read(path)
   end

   --- Exports, and runs what was written on batches of one and three.
   local function check_run(module, shape, tolerance)
      local model = export(module, { input = { 2, table.unpack(shape) } })
      module:eval()
      for _, n in ipairs{ 1, 3 } do
         local x = siamese.randn(n, table.unpack(shape))
         support.close(onnx.run(model, { input = x }), siamese.no_grad(module, x), tolerance or 1e-5, 1e-6)
      end
      return model
   end

   local function refused(message, module, opts)
      support.fails(message, siamese.onnx.export, path, module, opts or { input = { 1, 4 } })
      assert.is_nil(io.open(path))
   end

   it("has the nodes of the forward, the shapes and the parameters by their names", function()
      local net = models.lenet5()
      local model = check_run(net, { 1, 28, 28 })
      assert.same({ "Conv", "Relu", "MaxPool", "Conv", "Relu", "MaxPool", "Reshape", "Gemm", "Relu", "Gemm" },
         onnx.ops(model))
      assert.same({ { name = "input", dtype = "float32", shape = { "batch", 1, 28, 28 } } }, model.inputs)
      assert.same({ { name = "embedding", dtype = "float32", shape = { "batch", 84 } } }, model.outputs)
      assert.same({ 8, "siamese", { "", 17 }, "LeNet5" }, { model.ir_version, model.producer, model.opset,
         model.name })
      for name, tensor in pairs(net:state_dict()) do
         assert.is_true(model.initializers[name] == tensor, name)
      end
      assert.same({ -1, 400 }, model.initializers[model.nodes[7].inputs[2]]:totable())
      assert.same({ kernel_shape = { 5, 5 }, strides = { 1, 1 }, dilations = { 1, 1 }, group = 1,
         pads = { 2, 2, 2, 2 } }, model.nodes[1].attributes)
      assert.same({ "input", "0.weight", "0.bias" }, model.nodes[1].inputs)
      assert.same({ "/0/Conv", "embedding" }, { model.nodes[1].name, model.nodes[10].outputs[1] })
   end)

   it("follows residual networks, with statistics, sums and zeros along the batch", function()
      for _, shortcut in ipairs{ "A", "B" } do
         local net = models.CifarResNet{ depth = 8, shortcut = shortcut, embedding = 5 }
         for name, buffer in net:named_buffers() do
            if name:find("running") then
               buffer:uniform_(0.5, 1.5)
            end
         end
         local model = check_run(net, { 3, 12, 12 }, 1e-4)
         assert.is_true(net.layer2[1].bn1.running_var == model.initializers["layer2.0.bn1.running_var"])
         local counts = {}
         for _, op in ipairs(onnx.ops(model)) do
            counts[op] = (counts[op] or 0) + 1
         end
         assert.same({ shortcut == "A" and 7 or 9, 3 }, { counts.Conv, counts.Add })
         assert.equal(shortcut == "A" and 2 or nil, counts.AveragePool)
      end
   end)

   it("follows modules of one's own by what their forwards do", function()
      local Net = nn.Module:extend("Net")
      function Net:init()
         self.conv = nn.Conv2d{ in_channels = 2, out_channels = 3, kernel_size = 3, padding = 1 }
         self.scale = nn.Parameter(siamese.tensor{ 2.0, 3.0, 4.0 })
      end
      function Net:forward(x)
         local y = self.conv(x):relu() * self.scale:view(1, 3, 1, 1)
         local half = y:size(1) > 0 and y + siamese.full({ 1, 1, 5 }, 0.5)
         return siamese.cat({ half, x }, 2):reshape(x:size(1), -1)
      end
      local model = check_run(Net(), { 2, 4, 5 })
      assert.same({ "Conv", "Relu", "Mul", "Add", "Concat", "Reshape" }, onnx.ops(model))
      -- what forward makes of parameters alone is a constant
      local scale = model.initializers[model.nodes[3].inputs[2]]
      assert.same({ { { { 2 } }, { { 3 } }, { { 4 } } } }, scale:totable())
      assert.equal("/conv/Conv", model.nodes[1].name)
      assert.equal("/Relu", model.nodes[2].name)
   end)

   it("does not depend on where strides ask for a copy", function()
      local model = check_run(module_of(function(x)
         local n = x:size(1)
         return x:view(n, 2, 3, 4):permute(1, 3, 2, 4):reshape(n * 3, 8):view(n, -1):contiguous():clone()
      end), { 6, 4 })
      assert.same({ "Reshape", "Transpose", "Reshape", "Reshape" }, onnx.ops(model))
   end)

   it("leaves out what does not reach the output, and dropout", function()
      local fc = nn.Linear{ in_features = 4, out_features = 2 }
      local net = nn.Sequential{ fc, nn.Dropout{}, nn.Identity{}, module_of(function(x)
         return (x:relu()), x * 3
      end) }
      local model = export(net, { input = { 1, 4 }, output_names = { "a", "b" } })
      assert.same({ "Gemm", "Relu", "Mul" }, onnx.ops(model))
      assert.same({ "a", "b" }, { model.outputs[1].name, model.outputs[2].name })
      model = export(module_of(function(x)
         local _ = x:exp():sum()
         return x:neg()
      end), { input = { 1, 4 } })
      assert.same({ "Neg" }, onnx.ops(model))
   end)

   it("names an output that is an input or comes twice", function()
      local model = export(module_of(function(x)
         local y = x:relu()
         return y, x, y
      end), { input = { 1, 4 } })
      assert.same({ "Relu", "Identity", "Identity" }, onnx.ops(model))
      assert.same({ "embedding", "embedding_2", "embedding_3" }, { model.outputs[1].name,
         model.outputs[2].name, model.outputs[3].name })
      local x = siamese.tensor{ { -1, 2, 3, 4 } }
      assert.same({ "embedding", "input" }, { model.nodes[3].inputs[1], model.nodes[2].inputs[1] })
      assert.is_true(x == siamese.tensor{ { -1, 2, 3, 4 } })
   end)

   it("takes the encoder of a twin, with its preprocessing record and what the user says", function()
      local encoder = models.conv4{ in_channels = 3, width = 4, size = 32 }
      local twin = siamese.Twin{ encoder = encoder, preprocess = { size = 32, mean = 0.5, std = 0.25 } }
      local model = export(twin, { input = { 1, 3, 32, 32 }, metadata = { epoch = "12" } })
      assert.equal("12", model.metadata.epoch)
      local record = require "siamese.json".decode(model.metadata["siamese.preprocess"])
      assert.same(twin.preprocess:options(), record)
      assert.is_not_nil(model.initializers["0.weight"])
      assert.equal("Conv4", model.name)
   end)

   it("fixes the batch where that is wanted", function()
      local model = export(nn.Flatten{}, { input = { 3, 2, 2 }, dynamic_batch = false,
         input_names = { "pixels" }, output_names = { "row" } })
      assert.same({ 3, 2, 2 }, model.inputs[1].shape)
      assert.same({ 3, 4 }, model.outputs[1].shape)
      assert.same({ 3, 4 }, model.initializers[model.nodes[1].inputs[2]]:totable())
      assert.same({ "pixels", "row" }, { model.inputs[1].name, model.outputs[1].name })
   end)

   it("takes several inputs, and tensors in place of shapes", function()
      local embedding = nn.Embedding{ num_embeddings = 5, embedding_dim = 3 }
      local Net = nn.Module:extend("Net")
      function Net:init()
         self.embedding = embedding
      end
      function Net:forward(index, x)
         return self.embedding(index) + x
      end
      local model = export(Net(), { input = { siamese.tensor({ 5, 1 }, { dtype = "int64" }), { 1, 3 } } })
      assert.same({ { name = "input", dtype = "int64", shape = { "batch" } },
         { name = "input_2", dtype = "float32", shape = { "batch", 3 } } }, model.inputs)
      assert.same({ "Sub", "Gather", "Add" }, onnx.ops(model)) -- ours count from 1
      assert.is_true(model.initializers["embedding.weight"] == embedding.weight:detach())
   end)

   it("puts the gates of recurrent layers into ONNX's order", function()
      local net = models.sequence_encoder{ in_features = 2, hidden_size = 3 }
      local model = export(net, { input = { 1, 5, 2 } })
      local lstm = model.nodes[2]
      assert.same({ "Transpose", "LSTM" }, { model.nodes[1].op, lstm.op })
      assert.same({ hidden_size = 3, direction = "forward" }, lstm.attributes)
      local ours, rows = net.rnn.weight_ih_l0:detach(), {}
      for i, gate in ipairs{ 0, 3, 1, 2 } do -- i, o, f, g
         rows[i] = ours:narrow(1, 3 * gate + 1, 3)
      end
      assert.is_true(siamese.cat(rows, 1):unsqueeze(1) == model.initializers[lstm.inputs[2]])
      assert.same({ 1, 24 }, model.initializers[lstm.inputs[4]].shape)
   end)

   it("writes negative integers and infinite limits", function()
      local model = export(module_of(function(x)
         return x:clamp(-2, math.huge):softmax(-1) + F.layer_norm(x, 4)
      end), { input = { 1, 4 } })
      assert.same({ "Clip", "Softmax", "LayerNormalization", "Add" }, onnx.ops(model))
      assert.equal(2, #model.nodes[1].inputs)
      assert.equal(-1, model.nodes[3].attributes.axis)
      assert.near(1e-5, model.nodes[3].attributes.epsilon, 1e-12)
   end)

   it("leaves modes, statistics and random numbers as they were", function()
      local net = models.conv4{ width = 2 }
      net[1]:eval()
      local state = siamese.get_rng_state()
      export(net, { input = { 1, 1, 28, 28 } })
      assert.same(state, siamese.get_rng_state())
      assert.is_true(net.training and net[2].training)
      assert.is_false(net[1].training)
      assert.equal(0, net[2].num_batches_tracked:item())
   end)

   describe("refuses", function()
      it("operations without a counterpart, by the name of the module", function()
         local net = nn.Sequential{ nn.ReLU{}, module_of(function(x)
            return siamese.core.F.dropout(x, 0.5, true)
         end, "Noisy") }
         refused("siamese.onnx.export: Noisy '1': the operation dropout has no counterpart in ONNX", net)
         refused("BatchNorm1d '0': batch_norm has no counterpart in ONNX: with the statistics of the batch "
            .. "itself (track_running_stats = false)", nn.Sequential{ nn.BatchNorm1d{ num_features = 4,
            track_running_stats = false } }, { input = { 2, 4, 3 } })
      end)

      it("values that are read, to decide by them or to make others of them", function()
         refused("Own: item reads values that depend on the input into Lua", module_of(function(x)
            return x:sum():item() > 0 and x or -x
         end))
         refused("Own: totable reads values", module_of(function(x)
            return siamese.tensor(x:totable()) + x
         end))
         refused("Own: any reads values", module_of(function(x)
            return x:gt(0):any() and x or -x
         end))
         refused("Own: == reads values", module_of(function(x)
            return x == x * 2 and x or -x
         end))
         refused("Own: < and <= reads values", module_of(function(x)
            return x:sum() < x:amax() and x or -x
         end))
      end)

      it("them also where the forward catches the error", function()
         refused("Own: item reads values", module_of(function(x)
            pcall(function() return x:sum():item() end)
            return -x
         end))
      end)

      it("changes in place", function()
         for what, change in pairs{ add_ = function(y) y:add_(1) end, fill_ = function(y) y:fill_(1) end,
            assignment = function(y) y[1] = 0 end, normal_ = function(y) y:normal_() end } do
            refused(("Own: %s changes a tensor in place"):format(what), module_of(function(x)
               local y = x * 2
               change(y)
               return y
            end))
         end
      end)

      it("copies outside of the graph, and chance", function()
         local message = "a tensor that is made in forward depends on the input or on chance"
         refused(message, module_of(function(x)
            return x + siamese.tensor(x)
         end))
         refused(message, module_of(function(x)
            return x + siamese.rand(4)
         end))
      end)

      it("what depends on the size of the batch", function()
         refused("depends on the size of the batch", module_of(function(x)
            return x:size(1) == 1 and x:relu() or x:exp()
         end))
         refused("length of narrow depends on the size of the batch", module_of(function(x)
            return siamese.cat({ x, x }, 1):narrow(1, 1, x:size(1))
         end))
         refused("depends on the input or on chance", module_of(function(x)
            return x / x:size(1)
         end))
         refused("a value has 1 dimensions, or 2", module_of(function(x)
            return x:squeeze()
         end))
      end)

      it("models that the format cannot hold", function()
         local net = siamese.shapes_only(nn.Linear, { in_features = 1 << 15, out_features = 1 << 14,
            bias = false })
         refused("the model takes 2.15 GB, and a file of ONNX holds less than 2", net,
            { input = { 1, 1 << 15 } })
      end)

      it("and goes on working", function()
         refused("reads values", module_of(function(x)
            return x:sum():item()
         end))
         support.fails("linear: ", siamese.onnx.export, path, nn.Linear{ in_features = 3,
            out_features = 1 }, { input = { 1, 4 } })
         assert.same({ "Relu" }, onnx.ops(export(nn.ReLU{}, { input = { 1, 4 } })))
      end)
   end)

   it("is no export within an export", function()
      support.fails("trace: a trace is running", siamese.onnx.export, path, module_of(function(x)
         siamese.onnx.export(path, nn.ReLU{}, { input = { 1, 4 } })
         return x
      end), { input = { 1, 4 } })
   end)

   it("says what is wrong with its arguments", function()
      local net = nn.ReLU{}
      local function wrong(message, ...)
         support.fails(message, siamese.onnx.export, ...)
      end
      wrong("export: path must be the name of a file, got nil", nil, net, { input = { 1 } })
      wrong("export: path must be the name of a file, got \"\"", "", net, { input = { 1 } })
      wrong("export: expected a module, got table", path, {}, { input = { 1 } })
      wrong("export: option 'input' is required", path, net)
      wrong("export: unknown option 'inputs' (did you mean 'input'?)", path, net, { inputs = { 1 } })
      wrong("export: input must be a shape such as {1, 3, 224, 224}, a tensor, or a list of such, got {0, 2}",
         path, net, { input = { 0, 2 } })
      wrong("export: input must be a shape", path, net, { input = "1x3" })
      wrong("export: input must be a shape", path, net, { input = {} })
      wrong("export: input_names must be a list of 1 name, got {a, b}", path, net, { input = { 1, 2 },
         input_names = { "a", "b" } })
      wrong("export: output_names must be a list of 1 name, got {}", path, net, { input = { 1, 2 },
         output_names = {} })
      wrong("export: output_names must be strings of UTF-8, got number", path, net, { input = { 1, 2 },
         output_names = { 1 } })
      wrong("export: 'x' is the name of an input and of an output", path, net, { input = { 1, 2 },
         input_names = { "x" }, output_names = { "x" } })
      wrong("export: input_names must be different names", path, net, { input = { { 1 }, { 1 } },
         input_names = { "x", "x" } })
      wrong("export: batch_dim is 3, and an input has the shape {1, 2}", path, net, { input = { 1, 2 },
         batch_dim = 3 })
      wrong("export: dynamic_batch must be true or false, got 1", path, net, { input = { 1 },
         dynamic_batch = 1 })
      wrong("export: values of metadata must be strings of UTF-8, got number", path, net, { input = { 1 },
         metadata = { epoch = 12 } })
      wrong("export: metadata must be a table of strings, got string", path, net, { input = { 1 },
         metadata = "x" })
      wrong("Own gives a nil, expected tensors", path, module_of(function() return nil end),
         { input = { 1 } })
      assert.is_nil(io.open(path))
   end)

   it("is written whole or not at all", function()
      local ok, message = siamese.onnx.export(folder .. "/none/model.onnx", nn.ReLU{}, { input = { 1 } })
      assert.is_nil(ok)
      assert.equal(folder .. "/none/model.onnx: could not be written: No such file or directory", message)
      files.make_folder(path) -- where a folder is, the rename fails
      ok, message = siamese.onnx.export(path, nn.ReLU{}, { input = { 1 } })
      assert.is_nil(ok)
      assert.matches("could not be written", message)
      local list <close> = assert(io.popen(("ls -A '%s'"):format(folder)))
      assert.equal("model.onnx\n", list:read("a"))
   end)

   it("takes the place of a file that was there", function()
      files.write(path, ("old"):rep(10000))
      assert.same({ "Relu" }, onnx.ops(export(nn.ReLU{}, { input = { 1, 4 } })))
   end)
end)
